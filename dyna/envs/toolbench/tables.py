"""The tables that the APIs answer from: one seed, one small world of people, places and goods.

Rows are plain dictionaries of strings, numbers and lists. Every value that could lead from one
table to another is found there, so that calls can be chained without end.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from dyna.envs.toolbench.draws import Draft, Row
from dyna.envs.toolbench.tables_daily import (
    fill_days,
    fill_people,
    fill_places,
    fill_trade,
    fill_travel,
)
from dyna.envs.toolbench.tables_leisure import fill_reading_and_food, fill_sports, fill_stage
from dyna.seeding import derive_seed

Tables: TypeAlias = Mapping[str, Sequence[Row]]
MIN_ROWS, MAX_ROWS = 6, 200

_FILLERS: tuple[Callable[[Draft, random.Random, int], None], ...] = (
    fill_places,
    fill_people,
    fill_travel,
    fill_trade,
    fill_days,
    fill_reading_and_food,
    fill_stage,
    fill_sports,
)
"""In this order: later tables name what stands in earlier ones."""


def make_tables(seed: int, *, num_rows: int = 12) -> Tables:
    """The tables of one seed. `num_rows` people, cities, orders, ...; a few tables have fewer.

    Raises `ValueError` for a `num_rows` outside of [6, 200].
    """
    if not MIN_ROWS <= num_rows <= MAX_ROWS:
        raise ValueError(f"num_rows must be in [{MIN_ROWS}, {MAX_ROWS}], got {num_rows}")
    rng = random.Random(derive_seed(seed, "tables", num_rows))
    draft: Draft = {}
    for fill in _FILLERS:
        fill(draft, rng, num_rows)
    return draft


__all__ = ["MAX_ROWS", "MIN_ROWS", "Row", "Tables", "make_tables"]
