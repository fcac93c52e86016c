"""What surprises the model is drawn more often, and less so the older it is.

Priority alone hurts language agents: old trajectories keep priorities that no longer mean
anything. With priority times age decay it helps ("Freshness-Aware Prioritized Experience Replay",
2026, arXiv 2604.16918; proportional priorities after Schaul et al. 2016, arXiv 1511.05952).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dyna.replay.scored import ScoredBuffer
from dyna.replay.shelf import Entry


@dataclass(kw_only=True, eq=False)
class PrioritizedBuffer(ScoredBuffer):
    """Draws in proportion to `score ** alpha * exp(-age / age_scale)`; the oldest leave first.

    `age_scale` is in trajectories offered since; `math.inf` is priority without decay. Without
    scores (`note_scores` was never called) only age tells trajectories apart.
    """

    name = "prioritized"

    age_scale: float = 500.0

    def __post_init__(self) -> None:
        """Raises `ValueError` for an `age_scale` that is not above 0."""
        if not self.age_scale > 0:
            raise ValueError(f"age_scale must be > 0, got {self.age_scale}")
        super().__post_init__()

    def probabilities(self) -> NDArray[np.float64]:
        """Of drawing each trajectory held, in the order they came: `[N]`, summing to 1."""
        entries = self._shelf.entries
        # All grow older alike, so only differences of age matter.
        newest = entries[-1].serial
        logs = np.array(
            [self.log_weight(e) - (newest - e.serial) / self.age_scale for e in entries]
        )
        weights = np.exp(logs - logs.max())
        return weights / weights.sum()

    def _draw(self) -> Entry:
        if self._cumulative is None:
            self._cumulative = np.cumsum(self.probabilities())
        place = np.searchsorted(self._cumulative, self._draws.random(), side="right")
        # Rounding may leave the last sum a hair below 1.
        return self._shelf.entries[min(int(place), len(self._shelf) - 1)]

    def _on_score(self, entry: Entry) -> None:
        self._cumulative = None

    def _on_put(self, entry: Entry) -> None:
        super()._on_put(entry)
        self._cumulative = None

    def _forget(self) -> Entry:
        self._cumulative = None
        return self._leave(self._shelf.entries[0])

    def _note_all(self, state: Mapping[str, Any]) -> None:
        super()._note_all(state)
        self._cumulative: NDArray[np.float64] | None = None
