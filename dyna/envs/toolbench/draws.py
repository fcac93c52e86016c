"""Random names, codes, days and prices: what the rows of the tables are drawn with."""

from __future__ import annotations

import datetime
import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
Draft: TypeAlias = dict[str, list[dict[str, Any]]]
"""Tables in the making."""
FIRST_DAY = datetime.date(2031, 1, 1)


def names(
    rng: random.Random, num: int, *, shapes: Sequence[str], nouns: Sequence[str]
) -> list[str]:
    """`num` different names; numbered where shapes and nouns run out."""
    every = [shape.format(noun) for shape in shapes for noun in nouns]
    rng.shuffle(every)
    return [
        every[i] if i < len(every) else f"{every[i % len(every)]} {i // len(every) + 1}"
        for i in range(num)
    ]


def codes(rng: random.Random, num: int, *, prefix: str) -> list[str]:
    """`num` different identifiers, such as `O-1042`."""
    return [f"{prefix}-{number}" for number in rng.sample(range(100, 100 + 20 * num), num)]


def random_date(rng: random.Random) -> str:
    return (FIRST_DAY + datetime.timedelta(days=rng.randrange(365))).isoformat()


def random_time(rng: random.Random) -> str:
    return f"{rng.randrange(6, 22):02}:{rng.randrange(0, 60, 5):02}"


def random_price(rng: random.Random, *, low: int, high: int) -> float:
    return rng.randrange(low * 100, high * 100, 25) / 100


def distinct_numbers(rng: random.Random, num: int, *, low: int, high: int) -> list[int]:
    """Different numbers, so that the least and the greatest of any of them are unique."""
    return rng.sample(range(low, max(high, low + 2 * num)), num)


def column(rows: Sequence[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


__all__ = [
    "FIRST_DAY",
    "Draft",
    "Row",
    "codes",
    "column",
    "distinct_numbers",
    "names",
    "random_date",
    "random_price",
    "random_time",
]
