"""All experience, old and new alike: a uniform sample of everything ever offered.

Every trajectory draws one random key when it comes, and the buffer keeps the smallest keys that
fit. For trajectories of one size that is Vitter's reservoir sampling ("Random Sampling with a
Reservoir", ACM TOMS 1985, algorithm R): after n of them each is held with probability k/n,
whenever it came.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Any

from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.shelf import Entry


class SmallestKeys:
    """Entries by key, and the bound below which a newcomer's key must lie.

    Once an entry is dropped nothing with a larger key enters, although room may be left: what is
    held is at any time the longest run of smallest keys that fitted. Otherwise short and late
    trajectories would fill the gaps, and the sample would no longer be uniform.
    """

    def __init__(self, entries: Iterable[Entry] = (), *, bound: float = 1.0) -> None:
        self.bound = bound
        self._heap = [(-entry.key, entry.serial, entry) for entry in entries]
        heapq.heapify(self._heap)

    def put(self, entry: Entry) -> None:
        heapq.heappush(self._heap, (-entry.key, entry.serial, entry))

    def drop(self) -> Entry:
        """The entry that leaves: that of the largest key."""
        entry = heapq.heappop(self._heap)[2]
        self.bound = entry.key
        return entry


class ReservoirBuffer(TrajectoryBuffer):
    """A uniform random sample of all trajectories offered; the unit is the whole trajectory.

    Each trajectory, and with it each transition, has the same chance of being held, up to the
    rounding of whole trajectories into `max_transitions` and `max_bytes`.
    """

    name = "reservoir"

    def _wants(self, kind: str, *, key: float) -> bool:
        return key < self._kept.bound

    def _on_put(self, entry: Entry) -> None:
        self._kept.put(entry)

    def _forget(self) -> Entry:
        return self._kept.drop()

    def _state(self) -> dict[str, Any]:
        return {"bound": self._kept.bound}

    def _note_all(self, state: Mapping[str, Any]) -> None:
        self._kept = SmallestKeys(self._shelf.entries, bound=state.get("bound", 1.0))
