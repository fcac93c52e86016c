"""Group relative policy optimization, GRPO (Shao et al., arXiv 2402.03300)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agents.advantages import check_fraction, group_relative, is_constant
from agents.credits import advantage_credit, episode_return, learnable
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
        credits: list[Credit | None] = []
        for group in groups:
            trajectories = learnable(group)
            returns = [episode_return(t, gamma=self.gamma) for t in trajectories]
            if not returns or is_constant(returns):
                continue
            relative = group_relative(returns, normalize_std=self.normalize_std)
            for trajectory, advantage in zip(trajectories, relative, strict=True):
                advantages = [advantage] * len(trajectory.new_turns)
                credits.append(advantage_credit(trajectory, advantages=advantages))
        return [credit for credit in credits if credit is not None]
