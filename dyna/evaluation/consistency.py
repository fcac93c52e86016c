"""Where a dream parts from the world: an imagined episode beside its replay in the real one.

The replay takes the dream's actions, one after the other, in the real world from the same task.
Until the first difference the dream was a true account; after it, fiction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dyna.types import Metrics, Outcome, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """A dream and its replay, compared turn by turn.

    Example: equal for two turns, then another sentence: `Divergence(turn=2, num_compared=5,
    observation=True, reward=False, termination=False)`.
    """

    turn: int | None
    """Index, from 0, of the first turn that differs; None if all compared turns agree."""
    branch_point: int = 0
    """Leading real turns, which are not compared."""
    num_compared: int
    """Turns that both episodes have, after the branch point."""
    observation: bool = False
    """What differs at that turn: the text after `strip()`."""
    reward: bool = False
    termination: bool = False
    """Whether the episode ended there, or whether its end was a success."""


def first_divergence(*, imagined: Trajectory, real: Trajectory) -> Divergence:
    """Compare a dream with the real episode that replays its actions.

    The shorter one decides how far; real leading turns before the branch point are not compared.
    Raises `ValueError` if the actions differ, so `real` is no replay of `imagined`, or if the
    real episode failed.
    """
    if real.stop.is_failure:
        raise ValueError(
            f"real episode {real.id!r} failed ({real.stop.value}) and proves nothing about the "
            f"dream {imagined.id!r}; replay it again"
        )
    first = imagined.branch_point
    last = min(len(imagined.turns), len(real.turns))
    for index in range(last):
        dreamt, true = imagined.turns[index].action.command, real.turns[index].action.command
        if dreamt != true:
            raise ValueError(
                f"real episode {real.id!r} is no replay of {imagined.id!r}: at turn {index} it "
                f"took {true!r}, the dream {dreamt!r}"
            )
    num_compared = max(0, last - first)
    for index in range(first, last):
        parts = _differences(imagined.turns[index].outcome, real=real.turns[index].outcome)
        if any(parts):
            observation, reward, termination = parts
            return Divergence(
                turn=index,
                branch_point=first,
                num_compared=num_compared,
                observation=observation,
                reward=reward,
                termination=termination,
            )
    return Divergence(turn=None, branch_point=first, num_compared=num_compared)


def faithful_by_depth(divergences: Sequence[Divergence]) -> dict[int, float]:
    """Share of dreams still true after each number of imagined turns, among those that long.

    Depth counts from 1. A dream compared for n turns without a difference says nothing about
    depth n + 1 and leaves the count there, as a censored one does in Kaplan and Meier (1958),
    whose product-limit estimate this is; it never rises with depth.
    """
    lasting = [
        (d.num_compared if d.turn is None else d.turn - d.branch_point, d.turn is not None)
        for d in divergences
    ]
    survival, curve = 1.0, dict[int, float]()
    for depth in range(1, max((d.num_compared for d in divergences), default=0) + 1):
        at_risk = sum(1 for turns, diverged in lasting if turns >= depth - 1 + (not diverged))
        lost = sum(1 for turns, diverged in lasting if diverged and turns == depth - 1)
        if not at_risk:
            break
        survival *= 1 - lost / at_risk
        curve[depth] = survival
    return curve


def divergence_metrics(divergences: Sequence[Divergence], *, prefix: str = "eval") -> Metrics:
    """Share of dreams that diverge, the mean turn of divergence, and what differs first."""
    diverged = [d for d in divergences if d.turn is not None]
    turns = [d.turn for d in diverged if d.turn is not None]
    named = {
        "diverged": len(diverged) / len(divergences) if divergences else math.nan,
        "first_divergence": sum(turns) / len(turns) if turns else math.nan,
        "diverged_observation": _share(sum(d.observation for d in diverged), num=len(divergences)),
        "diverged_reward": _share(sum(d.reward for d in diverged), num=len(divergences)),
        "diverged_termination": _share(sum(d.termination for d in diverged), num=len(divergences)),
    }
    return {f"{prefix}/{name}": value for name, value in named.items()}


def _differences(imagined: Outcome, *, real: Outcome) -> tuple[bool, bool, bool]:
    return (
        imagined.observation.strip() != real.observation.strip(),
        imagined.reward != real.reward,
        (imagined.terminated, imagined.success) != (real.terminated, real.success),
    )


def _share(count: int, *, num: int) -> float:
    return count / num if num else math.nan
