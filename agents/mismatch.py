"""The gap between the engine that sampled and the learner that trains, and what is done about it.

The two hold the same weights on paper. Other kernels, another precision or a policy that was a few
updates behind make the engine's probabilities differ, and a policy gradient that overlooks this
learns off policy without saying so. The remedy is truncated importance sampling: credit is weighed
by min(learner / engine, C), token by token, and PPO's ratio is taken against the learner's own
probabilities at the start of the update. (Yao et al. 2025, "Your efficient RL framework secretly
brings you off-policy RL training"; the truncation is IMPALA's, Espeholt et al., arXiv 1802.01561;
the separate anchor is decoupled PPO's, Hilton et al., arXiv 2110.00641.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from dyna.types import Metrics, TrainingSample, Trajectory, TrajectoryGroup

NEGLIGIBLE_GAP = 1e-3
"""Nats. Two float32 implementations of one model differ by less, bfloat16 ones by more; a weight
that is off by a thousandth is far below the noise of any advantage."""
PROBE_TOKENS = 4096
"""Tokens of transcript that are scored first, to learn whether the rest needs scoring at all."""
WATCH_TOKENS = 1024
"""Tokens that are scored where nothing but the metric is at stake."""
_MAX_LOG_RATIO = 100.0
"""Beyond it the exponential says nothing more, and would at some point overflow."""

LogProbs: TypeAlias = Callable[[Sequence[TrainingSample]], Sequence[Sequence[float]]]
"""The learner's own log-probabilities of the tokens that `rl_mask` marks, 0 elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How far the learner is from the engine, over marked tokens.

    Example: with engine log-probs (-1.0, -2.0) and the learner's (-1.1, -2.0), `kl` is 0.0024
    and `largest` 0.1.
    """

    kl: float
    """KL(engine || learner) in nats per token, by the k3 estimate: the mean of r - 1 - log r with
    r = p_learner / p_engine. Unbiased, never negative, of low variance."""
    largest: float
    """The largest difference of two log-probabilities."""
    num_tokens: int


def measure_gap(
    samples: Sequence[TrainingSample], *, learner: Sequence[Sequence[float]]
) -> Gap | None:
    """None when no token is marked."""
    gaps = [gap for pair in zip(samples, learner, strict=True) for _, gap in _gaps(*pair)]
    if not gaps:
        return None
    return Gap(
        kl=math.fsum(math.expm1(min(gap, _MAX_LOG_RATIO)) - gap for gap in gaps) / len(gaps),
        largest=max(map(abs, gaps)),
        num_tokens=len(gaps),
    )


def weigh_by_importance(
    samples: Sequence[TrainingSample],
    *,
    learner: Sequence[Sequence[float]],
    max_importance: float,
) -> tuple[list[TrainingSample], Metrics]:
    """The samples with credit weighed and the learner's log-probs in place of the engine's."""
    weighed: list[TrainingSample] = []
    weights: list[float] = []
    for sample, log_probs in zip(samples, learner, strict=True):
        rl, old = list(sample.rl), list(sample.old_log_probs)
        for place, gap in _gaps(sample, log_probs):
            weight = math.exp(min(gap, math.log(max_importance)))
            weights.append(weight)
            rl[place] *= weight
            old[place] = log_probs[place]
        weighed.append(replace(sample, rl=tuple(rl), old_log_probs=tuple(old)))
    if not weights:
        return weighed, {}
    cut = sum(weight >= max_importance for weight in weights)
    return weighed, {
        "importance_mean": math.fsum(weights) / len(weights),
        "importance_cut": cut / len(weights),
    }


def correct(
    samples: Sequence[TrainingSample],
    *,
    log_probs: LogProbs,
    max_importance: float,
    is_stale: bool,
) -> tuple[list[TrainingSample], Metrics]:
    """Samples to train on and what was found; the very same samples where the two agree.

    A bounded part is scored first. Only if it shows a gap, or actions are stale, all are.
    """
    if not any(any(sample.rl_mask) for sample in samples):
        return list(samples), {}
    scored = list(samples) if is_stale else probe(samples, max_tokens=PROBE_TOKENS)
    learner = log_probs(scored)
    gap = measure_gap(scored, learner=learner)
    if gap is not None and gap.largest > NEGLIGIBLE_GAP and len(scored) < len(samples):
        scored = list(samples)
        learner = log_probs(scored)
        gap = measure_gap(scored, learner=learner)
    metrics = gap_metrics(gap)
    if gap is None or gap.largest <= NEGLIGIBLE_GAP:
        return list(samples), metrics
    weighed, found = weigh_by_importance(scored, learner=learner, max_importance=max_importance)
    return weighed, metrics | found


def gap_metrics(gap: Gap | None) -> Metrics:
    if gap is None:
        return {}
    return {"engine_kl": gap.kl, "engine_gap_max": gap.largest}


def probe(samples: Sequence[TrainingSample], *, max_tokens: int) -> list[TrainingSample]:
    """Marked samples from all over the list, of about `max_tokens` together, at least one."""
    marked = [sample for sample in samples if any(sample.rl_mask)]
    total = sum(len(sample.token_ids) for sample in marked)
    return marked[:: max(1, math.ceil(total / max_tokens))]


def staleness(groups: Sequence[TrajectoryGroup], *, version: int) -> Metrics:
    """Updates between each sampled action and the learner."""
    ages = [
        version - turn.action.policy_version
        for group in groups
        for trajectory in group.trajectories
        for turn in trajectory.new_turns
        if turn.action.log_probs
    ]
    if not ages:
        return {}
    return {"staleness_mean": sum(ages) / len(ages), "staleness_max": float(max(ages))}


def sampled(groups: Sequence[TrajectoryGroup]) -> list[Trajectory]:
    """The trajectories whose every new action an engine sampled, with log-probs."""
    return [
        trajectory
        for group in groups
        for trajectory in group.trajectories
        if trajectory.new_turns and all(turn.action.log_probs for turn in trajectory.new_turns)
    ]


def _gaps(sample: TrainingSample, log_probs: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Place and log(learner / engine) of every marked token."""
    for place, value in enumerate(sample.rl_mask):
        if value:
            yield place, log_probs[place] - sample.old_log_probs[place]
