"""REINFORCE with a leave-one-out baseline, RLOO (Ahmadian et al., arXiv 2402.14740)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.advantages import check_fraction, leave_one_out
from agents.credits import compared
from dyna.types import Credit, TrajectoryGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforce:
    """Every action of an episode gets its return minus the mean return of the others.

    A group of equals, or of one, teaches nothing and gives no credit.
    """

    gamma: float = 1.0
    """Discount per turn; below 1 a shorter win is worth more."""

    def __post_init__(self) -> None:
        check_fraction("reinforce gamma", value=self.gamma)

    def __call__(self, groups: Sequence[TrajectoryGroup]) -> list[Credit]:
        return compared(groups, gamma=self.gamma, compare=leave_one_out)
