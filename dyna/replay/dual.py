"""Two memories in one: a short one of what is new, a long one that matches all there ever was.

What leaves the short memory is offered to the long one, a reservoir; so nothing is held twice.
(WMAR, Yang et al. 2024, arXiv 2401.16650; ARROW, 2026, arXiv 2603.11395: a first-in-first-out
buffer beside a distribution-matching one forgets less than either alone at equal memory.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.reservoir import SmallestKeys
from dyna.replay.shelf import Capacity, Entry, Shelf


@dataclass(kw_only=True, eq=False)
class DualBuffer(TrajectoryBuffer):
    """`short_share` of the room for the newest trajectories, the rest for a sample of all older.

    Example: `DualBuffer(max_transitions=1000, short_share=0.5)` holds the last 500 transitions
    and 500 drawn evenly from all before them. Draws come from the two memories in the same shares.
    """

    name = "dual"

    short_share: float = 0.5

    def __post_init__(self) -> None:
        """Raises `ValueError` unless 0 < `short_share` < 1, or where no turn fits a memory."""
        if not 0.0 < self.short_share < 1.0:
            raise ValueError(f"short_share must lie between 0 and 1, got {self.short_share}")
        self._short_room = Capacity(
            max_transitions=round(self.short_share * self.max_transitions),
            max_bytes=round(self.short_share * self.max_bytes),
        )
        self._long_room = Capacity(
            max_transitions=self.max_transitions - self._short_room.max_transitions,
            max_bytes=self.max_bytes - self._short_room.max_bytes,
        )
        super().__post_init__()

    @property
    def num_transitions_by_memory(self) -> dict[str, int]:
        return {"short": self._short.num_turns, "long": self._long.num_turns}

    def _on_put(self, entry: Entry) -> None:
        self._short.put(entry)

    def _make_room(self) -> None:
        while self._short_room.exceeded_by(self._short):
            self._age(self._short.entries[0])
        while self._long_room.exceeded_by(self._long):
            self._shelf.take(self._forget())

    def _age(self, entry: Entry) -> None:
        """Out of the short memory, and into the long one if its key is small enough."""
        self._short.take(entry)
        if entry.key < self._kept.bound:
            self._kept.put(entry)
            self._long.put(entry)
        else:
            self._shelf.take(entry)

    def _forget(self) -> Entry:
        entry = self._kept.drop()
        self._long.take(entry)
        return entry

    def _draw(self) -> Entry:
        is_short = float(self._draws.random()) < self.short_share
        memories = (self._short, self._long) if is_short else (self._long, self._short)
        return self._uniform(next(memory.entries for memory in memories if len(memory)))

    def _state(self) -> dict[str, Any]:
        return {"bound": self._kept.bound, "num_short": len(self._short)}

    def _note_all(self, state: Mapping[str, Any]) -> None:
        self._short, self._long = Shelf(), Shelf()
        first_short = len(self._shelf) - int(state.get("num_short", 0))
        for place, entry in enumerate(self._shelf.entries):
            (self._short if place >= first_short else self._long).put(entry)
        self._kept = SmallestKeys(self._long.entries, bound=state.get("bound", 1.0))
