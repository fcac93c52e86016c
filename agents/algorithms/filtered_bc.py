"""Filtered behavior cloning: imitate what worked.

The strong and simple baseline of the field, as in STaR (Zelikman et al., arXiv 2203.14465).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.advantages import check_fraction
from agents.credits import episode_return, learnable
from dyna.types import Credit, Trajectory, TrajectoryGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class FilteredBC:
    """Clone the actions of successful episodes, all weighted alike."""

    min_return: float | None = None
    """If given, an episode is good from this (undiscounted) return on, successful or not."""
    only_valid: bool = True
    """Leave out actions that the world says it did not carry out."""
    gamma: float = 1.0
    """An episode of N new turns weighs gamma ** (N - 1), so that shorter wins count for more."""

    def __post_init__(self) -> None:
        check_fraction("filtered_bc gamma", value=self.gamma)

    def __call__(self, groups: Sequence[TrajectoryGroup]) -> list[Credit]:
        credits = [
            self._credit(t) for group in groups for t in learnable(group) if self._is_good(t)
        ]
        return [credit for credit in credits if any(credit.ce)]

    def _is_good(self, trajectory: Trajectory) -> bool:
        if self.min_return is None:
            return trajectory.success
        return episode_return(trajectory, gamma=1.0) >= self.min_return

    def _credit(self, trajectory: Trajectory) -> Credit:
        weight = self.gamma ** max(0, len(trajectory.new_turns) - 1)
        skipped = (0.0,) * trajectory.branch_point
        cloned = tuple(
            0.0 if self.only_valid and turn.outcome.valid is False else weight
            for turn in trajectory.new_turns
        )
        return Credit(trajectory=trajectory, ce=skipped + cloned)
