"""Which turns may be learned from: the rules that every algorithm shares, in one place.

1. A failed episode is no experience: a group that holds one is refused, not scored.
2. The turns before the branch point of a dream were not chosen by this policy: no credit.
3. A dream that ended UNTRUSTED or UNPARSEABLE loses its last turn, to which the world model had
   no answer: that action gets no credit. The episode stays in its group, and its return is what
   came before.
4. An episode that was cut (step limit, horizon) is worth the rewards it got, no more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from agents.advantages import discounted_returns, is_constant
from dyna.types import Credit, StopReason, Trajectory, TrajectoryGroup

_UNANSWERED = (StopReason.UNTRUSTED, StopReason.UNPARSEABLE)


def learnable(group: TrajectoryGroup) -> list[Trajectory]:
    """The group's episodes, without turns that got no answer, in order.

    Raises `ValueError` if a member failed, for a group with a hole in it biases its baseline.
    """
    for trajectory in group.trajectories:
        if trajectory.stop.is_failure:
            raise ValueError(
                f"episode {trajectory.id!r} failed ({trajectory.stop}) and cannot be learned from; "
                "drop its whole group, as dyna.rollout.gather_groups does"
            )
    return [_answered(trajectory) for trajectory in group.trajectories]


def new_rewards(trajectory: Trajectory) -> list[float]:
    """Rewards of the turns after the branch point, `[N - branch_point]`."""
    return [turn.outcome.reward for turn in trajectory.new_turns]


def episode_return(trajectory: Trajectory, *, gamma: float) -> float:
    """Discounted return of the new turns, seen from the first of them; 0 if there are none."""
    returns = discounted_returns(new_rewards(trajectory), gamma=gamma)
    return returns[0] if returns else 0.0


def advantage_credit(trajectory: Trajectory, *, advantages: Sequence[float]) -> Credit | None:
    """Credit of the new turns, one advantage each; None if there are none."""
    if not advantages:
        return None
    return Credit(trajectory=trajectory, rl=(0.0,) * trajectory.branch_point + tuple(advantages))


def compared(
    groups: Iterable[TrajectoryGroup],
    *,
    gamma: float,
    compare: Callable[[Sequence[float]], list[float]],
) -> list[Credit]:
    """Give every action of an episode what `compare` makes of the returns of its group.

    `compare` takes the members' returns, `[G]`, and gives an advantage for each. A group whose
    returns do not differ, or of one, teaches nothing and gives no credit.
    """
    credits: list[Credit] = []
    for group in groups:
        trajectories = learnable(group)
        returns = [episode_return(t, gamma=gamma) for t in trajectories]
        if not returns or is_constant(returns):
            continue
        for trajectory, advantage in zip(trajectories, compare(returns), strict=True):
            advantages = [advantage] * len(trajectory.new_turns)
            credit = advantage_credit(trajectory, advantages=advantages)
            if credit is not None:
                credits.append(credit)
    return credits


def _answered(trajectory: Trajectory) -> Trajectory:
    unanswered = trajectory.stop in _UNANSWERED and bool(trajectory.new_turns)
    return replace(trajectory, turns=trajectory.turns[:-1]) if unanswered else trajectory
