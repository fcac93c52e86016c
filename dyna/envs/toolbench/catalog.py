"""All APIs by name, and how values of each kind are found and spoken of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from dyna.envs.toolbench.documents import Api
from dyna.envs.toolbench.domains import leisure, people, places, trade

APIS: Mapping[str, Api] = {
    api.name: api for api in (*places.APIS, *people.APIS, *trade.APIS, *leisure.APIS)
}

SOURCES: Mapping[str, tuple[str, str]] = {
    "airport": ("cities", "airport"),
    "artist": ("artists", "artist"),
    "book": ("books", "book"),
    "city": ("cities", "city"),
    "company": ("companies", "company"),
    "country": ("countries", "country"),
    "currency": ("currencies", "currency"),
    "date": ("events", "date"),
    "device": ("devices", "device"),
    "event": ("events", "event"),
    "flight": ("flights", "flight"),
    "hotel": ("hotels", "hotel"),
    "ingredient": ("ingredients", "ingredient"),
    "job": ("jobs", "job"),
    "match": ("matches", "match"),
    "message": ("messages", "message"),
    "movie": ("movies", "movie"),
    "order": ("orders", "order"),
    "person": ("contacts", "name"),
    "plate": ("cars", "plate"),
    "product": ("products", "product"),
    "recipe": ("recipes", "recipe"),
    "song": ("songs", "song"),
    "team": ("teams", "team"),
    "ticker": ("companies", "ticker"),
    "tracking": ("shipments", "tracking"),
    "usd": ("products", "price"),
}
"""The table and column that the values of a kind are drawn from."""

_SPOKEN: Mapping[str, str] = {
    "airport": "airport {}",
    "book": 'the book "{}"',
    "device": "device {}",
    "event": "event {}",
    "flight": "flight {}",
    "job": "job {}",
    "match": "match {}",
    "message": "message {}",
    "movie": 'the film "{}"',
    "order": "order {}",
    "plate": "the car {}",
    "product": "the {}",
    "recipe": 'the recipe "{}"',
    "song": 'the song "{}"',
    "team": "the {}",
    "ticker": "the share {}",
    "tracking": "parcel {}",
    "usd": "{} USD",
}


def spoken(kind: str, value: object) -> str:
    """A value as a query names it. Example: `spoken("order", "O-104")` is "order O-104"."""
    return _SPOKEN.get(kind, "{}").format(value)


def in_categories(names: Sequence[str]) -> Mapping[str, Api]:
    """The APIs of some categories; of all for an empty list. Raises `ValueError`."""
    return _in_categories(tuple(names))


@cache
def _in_categories(names: tuple[str, ...]) -> Mapping[str, Api]:
    known = sorted({api.category for api in APIS.values()})
    for name in names:
        if name not in known:
            raise ValueError(f"toolbench categories must be among {known}, got {name!r}")
    return {n: api for n, api in APIS.items() if not names or api.category in names}


__all__ = ["APIS", "SOURCES", "in_categories", "spoken"]
