"""Keeps what the model finds hard: a sample of all experience, weighed by the model's loss.

Weighted reservoir sampling (Efraimidis and Spirakis, "Weighted random sampling with a reservoir",
2006, algorithm A-Res), the weight being the model's loss to a power (loss-aware buffers: Buzzega et
al. 2020, arXiv 2010.05595; DreamerV3's replay by model loss). Noise surprises for ever; because
keeping is a matter of chance and not of rank, it crowds out others but cannot take all the room.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from typing import Any

from dyna.replay.scored import ScoredBuffer
from dyna.replay.shelf import Entry

_SLACK = 64


class SurpriseBuffer(ScoredBuffer):
    """Keeps trajectories with chances that grow with `score ** alpha`; draws among them evenly.

    Example: with `alpha=1` a trajectory on which the model loses twice as many nats per token as
    on another is about twice as likely to be held, as long as both are rare among many.
    """

    name = "surprise"
    extra_bytes = 400
    """With the ranks, and those that are out of date."""

    def _rank(self, entry: Entry) -> float:
        """`log(u) / weight`, at most 0; the lowest leaves. `u` is the entry's own random key."""
        return math.log(max(entry.key, 5e-324)) * math.exp(-self.log_weight(entry))

    def _on_put(self, entry: Entry) -> None:
        super()._on_put(entry)
        self._push(entry)

    def _on_score(self, entry: Entry) -> None:
        self._push(entry)

    def _push(self, entry: Entry) -> None:
        rank = self._rank(entry)
        self._ranks[entry.serial] = rank
        heapq.heappush(self._heap, (rank, entry.serial, entry))
        # A new score leaves the old rank in the heap; it is known by not being the latest.
        if len(self._heap) > 2 * len(self._ranks) + _SLACK:
            self._heap = [item for item in self._heap if self._ranks.get(item[1]) == item[0]]
            heapq.heapify(self._heap)

    def _forget(self) -> Entry:
        while True:
            rank, serial, entry = heapq.heappop(self._heap)
            if self._ranks.get(serial) == rank:
                del self._ranks[serial]
                return self._leave(entry)

    def _note_all(self, state: Mapping[str, Any]) -> None:
        super()._note_all(state)
        self._heap: list[tuple[float, int, Entry]] = []
        self._ranks: dict[int, float] = {}
        kept: Mapping[str, float] = state.get("ranks", {})
        for entry in self._shelf.entries:
            rank = kept[str(entry.serial)]
            self._ranks[entry.serial] = rank
            self._heap.append((rank, entry.serial, entry))
        heapq.heapify(self._heap)

    def _state(self) -> dict[str, Any]:
        # An entry that was never scored keeps the rank it came with, whatever surprised since.
        return super()._state() | {"ranks": {str(s): rank for s, rank in self._ranks.items()}}
