"""PPO with a clipped surrogate (Schulman et al., arXiv 1707.06347), without a critic.

There is no value network. The value before every turn of an episode is estimated by one number,
the mean return of its group, or of the whole batch for a group of one; generalized advantage
estimation over turns then moves credit towards the turns nearest a reward. The clipping itself is
the trainer's `rl` stream (`clip_low`, `clip_high`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import fmean, pstdev

from agents.advantages import check_fraction, gae
from agents.credits import advantage_credit, episode_return, learnable, new_rewards
from dyna.types import Credit, Trajectory, TrajectoryGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class PPOClip:
    """Advantages by GAE with the group's mean return as the value of every turn."""

    gamma: float = 1.0
    """Discount per turn; below 1 a shorter win is worth more."""
    lam: float = 1.0
    """1 gives every turn the whole return; less forgets rewards that are many turns away."""
    normalize: bool = True
    """Divide by the root mean square of the batch's advantages; their sign is kept."""

    def __post_init__(self) -> None:
        check_fraction("ppo_clip gamma", value=self.gamma)
        check_fraction("ppo_clip lam", value=self.lam)

    def __call__(self, groups: Sequence[TrajectoryGroup]) -> list[Credit]:
        sound = [learnable(group) for group in groups]
        returns = [episode_return(t, gamma=self.gamma) for t in chain.from_iterable(sound)]
        if not returns:
            return []
        batch_mean = fmean(returns)
        trajectories: list[Trajectory] = []
        advantages: list[list[float]] = []
        for members in sound:
            baseline = self._baseline(members, batch_mean=batch_mean)
            for trajectory in members:
                rewards = new_rewards(trajectory)
                values = [baseline] * len(rewards)
                trajectories.append(trajectory)
                advantages.append(gae(rewards, values=values, gamma=self.gamma, lam=self.lam))
        scale = self._scale(list(chain.from_iterable(advantages)))
        if scale == 0.0:
            return []
        scaled = [[value / scale for value in turns] for turns in advantages]
        credits = map(_credit, trajectories, scaled)
        return [credit for credit in credits if credit is not None]

    def _baseline(self, members: Sequence[Trajectory], *, batch_mean: float) -> float:
        if len(members) == 1:
            return batch_mean
        return fmean(episode_return(t, gamma=self.gamma) for t in members)

    def _scale(self, advantages: Sequence[float]) -> float:
        """0 when there is nothing to prefer."""
        largest = max(map(abs, advantages), default=0.0)
        if largest < 1e-9:
            return 0.0
        return pstdev(advantages, 0.0) if self.normalize else 1.0


def _credit(trajectory: Trajectory, advantages: list[float]) -> Credit | None:
    return advantage_credit(trajectory, advantages=advantages)
