"""What the model makes of each trajectory held: its loss, as the learner last reported it.

Scores are the model's mean loss on a trajectory, in nats per token. A trajectory that was never
scored counts as the most surprising one met so far, so that nothing new is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.shelf import Entry

_FLOOR = 1e-6
"""Nats; a loss of 0 would never be drawn again."""


@dataclass(kw_only=True, eq=False)
class ScoredBuffer(TrajectoryBuffer):
    """A buffer that weighs a trajectory by `score ** alpha`; alpha 0 makes all alike.

    Trajectories are told apart by their ids; of two with one id the later has the score.
    """

    extra_bytes = 250
    """Of a score, its places in tables and the room that those keep free."""

    alpha: float = 0.6

    def __post_init__(self) -> None:
        """Raises `ValueError` for an `alpha` below 0."""
        if not (self.alpha >= 0 and math.isfinite(self.alpha)):
            raise ValueError(f"alpha must be a finite number >= 0, got {self.alpha}")
        super().__post_init__()

    def note_scores(self, scores: Mapping[str, float]) -> None:
        """Take the model's losses by trajectory id; ids not held are ignored.

        Raises `ValueError` for a loss that is negative or not finite; nothing is noted then.
        """
        for id, score in scores.items():
            if not (score >= 0 and math.isfinite(score)):
                raise ValueError(f"the score of {id!r} must be a finite number >= 0, got {score}")
        for id, score in scores.items():
            self._highest = max(self._highest, score)
            entry = self._entries.get(id)
            if entry is not None:
                self._scores[entry.serial] = max(score, _FLOOR)
                self._on_score(entry)

    def log_weight(self, entry: Entry) -> float:
        """`alpha * log(score)`."""
        return self.alpha * math.log(self._scores.get(entry.serial, max(self._highest, _FLOOR)))

    def _on_score(self, entry: Entry) -> None:
        """Take note of a new score."""
        return None

    def _on_put(self, entry: Entry) -> None:
        self._entries[entry.id] = entry

    def _leave(self, entry: Entry) -> Entry:
        """Drop what is noted of an entry that leaves."""
        self._scores.pop(entry.serial, None)
        if self._entries.get(entry.id) is entry:
            del self._entries[entry.id]
        return entry

    def _state(self) -> dict[str, Any]:
        return {
            "highest": self._highest,
            "scores": [[serial, score] for serial, score in self._scores.items()],
        }

    def _note_all(self, state: Mapping[str, Any]) -> None:
        self._highest = float(state.get("highest", 0.0))
        self._scores: dict[int, float] = {
            int(serial): float(score) for serial, score in state.get("scores", [])
        }
        self._entries = {entry.id: entry for entry in self._shelf.entries}
