"""The words of the official games: ALFWorld's, and those that its generated houses leave out."""

from __future__ import annotations

from dataclasses import replace

from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.envs.household.vocabulary import ObjectKind, Property, Vocabulary

_PORTABLE = ("papertowelroll", "teddybear")
_FIXED = ("bathtub", "curtains", "mirror", "showerglass", "sink", "window")
_LAMPS = ("floorlamp",)


def _official() -> Vocabulary:
    objects = (
        *ALFWORLD.objects,
        *(ObjectKind(name=name) for name in _PORTABLE),
        *(ObjectKind(name=name, properties=frozenset()) for name in _FIXED),
        *(ObjectKind(name=name, properties=frozenset({Property.TOGGLEABLE})) for name in _LAMPS),
    )
    return replace(ALFWORLD, name="alfworld_official", objects=objects)


OFFICIAL = _official()
"""For those who act in official games; houses are made with `ALFWORLD`."""

__all__ = ["OFFICIAL"]
