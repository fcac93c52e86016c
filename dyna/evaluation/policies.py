"""How well a policy does, in the real world and in the model's, and how far the two agree.

Success in a dream means nothing alone: every imagined figure has the real one, of the same policy
on the same tasks, beside it. Names are those of "From Word to World" (arXiv 2512.18832); the
paired measures add what marginal rates hide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dyna.types import Trajectory


def scored(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    """Those that may be scored: a failed episode says nothing about the policy."""
    return [t for t in trajectories if not t.stop.is_failure]


def success_by_task(trajectories: Iterable[Trajectory]) -> dict[str, bool]:
    """Task id to success, failed episodes left out.

    Raises `ValueError` if a task was played twice: pairing needs one episode per task.
    """
    outcomes: dict[str, bool] = {}
    for trajectory in scored(trajectories):
        if trajectory.task.id in outcomes:
            raise ValueError(
                f"task {trajectory.task.id!r} was played more than once; pair one episode per task"
            )
        outcomes[trajectory.task.id] = trajectory.success
    return outcomes


def success_rate(successes: Sequence[bool]) -> float:
    """The share of episodes that did the task; NaN over none."""
    return sum(successes) / len(successes) if successes else math.nan


def mean(values: Sequence[float]) -> float:
    """Of returns, or of numbers of turns; NaN over none."""
    return math.fsum(values) / len(values) if values else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySummary:
    """One policy in one world."""

    num_episodes: int
    """Episodes scored."""
    num_failures: int
    """Episodes that broke and are left out of every figure."""
    success: float
    mean_return: float
    """Undiscounted sum of rewards."""
    mean_turns: float
    mean_turns_of_wins: float


def summarize(trajectories: Sequence[Trajectory]) -> PolicySummary:
    kept = scored(trajectories)
    return PolicySummary(
        num_episodes=len(kept),
        num_failures=len(trajectories) - len(kept),
        success=success_rate([t.success for t in kept]),
        mean_return=mean([t.total_reward for t in kept]),
        mean_turns=mean([len(t.turns) for t in kept]),
        mean_turns_of_wins=mean([len(t.turns) for t in kept if t.success]),
    )


def consistency_ratio(*, real: float, w2r: float) -> float:
    """CR = W2R / Real, of success rates; above 1 if acting in the model even helps. NaN at Real 0.

    W2R ("world to real"): the actions chosen inside the model, replayed open-loop in the real
    world from the same tasks ("From Word to World", section on consistency).
    """
    return w2r / real if real else math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedConsistency:
    """Two outcomes per task, an imagined and a real one; shares of the tasks that have both.

    Example: won in both on 3 tasks, imagined only on 1, real only on 0, in neither on 4:
    agreement 7/8, false_positives 1/8, false_negatives 0, gap 1/8.
    """

    num_tasks: int
    num_unpaired: int
    """Tasks with one outcome only, such as those whose real episode failed; in no figure."""
    imagined: float
    real: float
    agreement: float
    false_positives: float
    """Imagined won, real lost: what an exploited model shows."""
    false_negatives: float

    @property
    def gap(self) -> float:
        return self.imagined - self.real


def paired_consistency(
    *, imagined: Mapping[str, bool], real: Mapping[str, bool]
) -> PairedConsistency:
    """Agreement task by task; both map task id to success (see `success_by_task`).

    `real` may be the policy's own real episodes or the replay of its imagined actions (W2R).
    """
    tasks = sorted(imagined.keys() & real.keys())
    pairs = [(imagined[task], real[task]) for task in tasks]
    return PairedConsistency(
        num_tasks=len(tasks),
        num_unpaired=len(imagined.keys() ^ real.keys()),
        imagined=success_rate([dreamt for dreamt, _ in pairs]),
        real=success_rate([true for _, true in pairs]),
        agreement=success_rate([dreamt == true for dreamt, true in pairs]),
        false_positives=success_rate([dreamt and not true for dreamt, true in pairs]),
        false_negatives=success_rate([true and not dreamt for dreamt, true in pairs]),
    )


def exploitation_gap(*, imagined: Mapping[str, bool], real: Mapping[str, bool]) -> float:
    """Imagined minus real success of the same policy on the same tasks.

    Raises `ValueError` if the tasks differ: then it would compare tasks and not worlds.
    """
    if imagined.keys() != real.keys():
        only = sorted(imagined.keys() ^ real.keys())
        raise ValueError(
            f"imagined and real success must be of the same tasks; {len(only)} are in one only, "
            f"such as {only[0]!r}: restrict both to the common ones"
        )
    return success_rate(list(imagined.values())) - success_rate(list(real.values()))
