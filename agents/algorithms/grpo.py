"""Group relative policy optimization, GRPO (Shao et al., arXiv 2402.03300)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from agents.advantages import check_fraction, group_relative
from agents.credits import compared
from dyna.types import Credit, TrajectoryGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPO:
    """Every action of an episode gets its return relative to the group's.

    A group whose returns do not differ, or of one, teaches nothing and gives no credit. All tokens
    of an optimizer step weigh the same (the trainer's `rl` stream), however long their episodes.
    """

    normalize_std: bool = True
    """Divide by the group's standard deviation; off as in Dr. GRPO (Liu et al., 2503.20783)."""
    gamma: float = 1.0
    """Discount per turn; below 1 a shorter win is worth more."""

    def __post_init__(self) -> None:
        check_fraction("grpo gamma", value=self.gamma)

    def __call__(self, groups: Sequence[TrajectoryGroup]) -> list[Credit]:
        compare = partial(group_relative, normalize_std=self.normalize_std)
        return compared(groups, gamma=self.gamma, compare=compare)
