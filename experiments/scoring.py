"""All measures of a finished run, on tasks that it never met: what `dyna evaluate` writes.

The agent plays each task three times: in the real world, in the model, and once more in the real
world with the very actions that it took in the model (W2R). Pairs of outcomes say what rates of
their own hide. Definitions are those of `dyna.evaluation`; the form is `experiments.report.data`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dyna.config import RunConfig
from dyna.crew import LocalCrew
from dyna.evaluation.calibration import (
    expected_calibration_error,
    reliability_bins,
    selective_fidelity,
)
from dyna.evaluation.consistency import first_divergence
from dyna.evaluation.fidelity import TurnScore
from dyna.evaluation.intervals import Interval, wilson
from dyna.evaluation.policies import consistency_ratio, scored, success_by_task
from dyna.evaluation.predictions import predict_turns
from dyna.ledger import Ledger
from dyna.seeding import generator
from dyna.types import Trajectory
from experiments.evaluation import HeldOutEvaluator

MIN_TASKS = 100
"""Fewer than these leave intervals too wide to tell two agents apart."""
_COVERAGES = tuple(percent / 100 for percent in range(5, 101, 5))
_NUM_RESAMPLES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was played and predicted; everything in `evaluation.json` follows from it."""

    real: Sequence[Trajectory]
    imagined: Sequence[Trajectory]
    replayed: Sequence[Trajectory]
    """The imagined episodes' actions in the real world, in the order of `imagined`."""
    scores: Sequence[TurnScore]
    """One-step predictions of the world model on real episodes full of mistakes."""


def play_held_out(config: RunConfig, *, evaluator: HeldOutEvaluator) -> tuple[Measured, Ledger]:
    """Play and score tasks beyond those that the run's own evaluations used.

    Also returns the account of what that took. Raises `ValueError` when the split has too few.
    """
    ours = config.evaluation
    num = max(ours.num_tasks, MIN_TASKS)
    ledger = Ledger()
    held_out = HeldOutEvaluator(
        world=evaluator.world,
        crew=evaluator.crew,
        ledger=ledger,
        config=replace(
            ours,
            first_task=ours.first_task + ours.num_tasks + ours.fidelity_episodes,
            num_tasks=num,
            # Without probes the model is scored on what the agent itself did.
            fidelity_episodes=num if ours.fidelity_episodes else 0,
            imagined=True,
        ),
        seed=config.seed,
        step_timeout_s=config.world.step_timeout_s,
    )
    held_out.evaluate(round=config.rounds)
    probes = scored(held_out.probes() or held_out.real)
    measured = Measured(
        real=held_out.real,
        imagined=held_out.imagined,
        replayed=held_out.replayed,
        scores=_score(evaluator, probes=probes),
    )
    return measured, ledger


def record(measured: Measured, *, seed: int = 0) -> dict[str, Any]:
    """The content of `evaluation.json`; what could not be measured is None."""
    real, wm, w2r = (
        success_by_task(played) for played in (measured.real, measured.imagined, measured.replayed)
    )
    return {
        "one_step": _one_step(measured.scores),
        "success": {
            "real": _rate(real.values()),
            "wm": _rate(wm.values()),
            "w2r": _rate(w2r.values()),
        },
        "consistency": {
            **_ratio(real, w2r=w2r, seed=seed),
            **_pairs(wm, w2r=w2r),
            **_divergences(measured.imagined, replayed=measured.replayed),
        },
        "selective": _selective(measured.scores),
        "calibration": _calibration(measured.scores, seed=seed),
    }


def _score(evaluator: HeldOutEvaluator, *, probes: Sequence[Trajectory]) -> list[TurnScore]:
    """A language model's scores come from one pass over the text; any other model is asked."""
    if evaluator.score is not None:
        return evaluator.score(probes)
    if isinstance(evaluator.crew, LocalCrew):
        return predict_turns(evaluator.crew.model, probes)
    return []


def _one_step(scores: Sequence[TurnScore]) -> dict[str, Any]:
    valid = [score for score in scores if score.valid is not False]
    kinds = sorted({score.kind for score in valid})
    return {
        **_parts(scores),
        "valid": _rate(score.exact for score in valid),
        "invalid": _rate(score.exact for score in scores if score.valid is False),
        "win_precision": _rate(score.success for score in scores if score.predicted_success),
        "win_recall": _rate(score.predicted_success for score in scores if score.success),
        "kinds": {kind: _parts([s for s in valid if s.kind == kind]) for kind in kinds},
    }


def _parts(scores: Sequence[TurnScore]) -> dict[str, Any]:
    return {
        "em": _rate(score.exact for score in scores),
        "observation": _rate(score.observation_exact for score in scores),
        "reward": _rate(score.reward_exact for score in scores),
        "termination": _rate(score.termination_exact for score in scores),
    }


def _ratio(real: Mapping[str, bool], *, w2r: Mapping[str, bool], seed: int) -> dict[str, Any]:
    """CR over the tasks that have both outcomes, with its interval over tasks."""
    tasks = sorted(real.keys() & w2r.keys())

    def ratio(rows: np.ndarray) -> float:
        drawn = [tasks[int(row)] for row in rows]
        wins = sum(real[task] for task in drawn)
        # A resample without a real success bounds nothing from above.
        return consistency_ratio(real=wins, w2r=sum(w2r[t] for t in drawn)) if wins else math.inf

    interval = _over(len(tasks), statistic=ratio, seed=seed)
    return {"cr": interval["value"], "cr_low": interval["low"], "cr_high": interval["high"]}


def _pairs(wm: Mapping[str, bool], *, w2r: Mapping[str, bool]) -> dict[str, Any]:
    """What the model said of each task beside what the world says of the same actions."""
    pairs = [(wm[task], w2r[task]) for task in sorted(wm.keys() & w2r.keys())]
    return {
        "num_tasks": len(pairs),
        "agreement": _rate(dreamt == true for dreamt, true in pairs),
        "false_positives": _rate(dreamt and not true for dreamt, true in pairs),
        "false_negatives": _rate(true and not dreamt for dreamt, true in pairs),
    }


def _divergences(
    imagined: Sequence[Trajectory], *, replayed: Sequence[Trajectory]
) -> dict[str, Any]:
    """At which step, counted from 1, dreams first part from the world."""
    found = [
        first_divergence(imagined=dream, real=truth).turn
        for dream, truth in zip(imagined, replayed, strict=True)
        if not truth.stop.is_failure
    ]
    steps = sorted(turn + 1 for turn in found if turn is not None)
    return {
        "first_divergence": {str(step): steps.count(step) for step in dict.fromkeys(steps)},
        "never_diverged": sum(turn is None for turn in found),
    }


def _selective(scores: Sequence[TurnScore]) -> list[dict[str, float]]:
    confidences, correct = _certainties(scores)
    if not scores:
        return []
    return [
        {
            "coverage": coverage,
            "accuracy": selective_fidelity(confidences, correct=correct, coverage=coverage),
        }
        for coverage in _COVERAGES
    ]


def _calibration(scores: Sequence[TurnScore], *, seed: int) -> dict[str, Any]:
    """ECE, with its interval over episodes, since turns of one episode share their luck."""
    episodes: dict[str, list[TurnScore]] = {}
    for score in scores:
        episodes.setdefault(score.trajectory_id, []).append(score)
    names = list(episodes)

    def error(rows: np.ndarray) -> float:
        confidences, correct = _certainties(
            [score for row in rows for score in episodes[names[int(row)]]]
        )
        return expected_calibration_error(confidences, correct=correct)

    interval = _over(len(names), statistic=error, seed=seed)
    confidences, correct = _certainties(scores)
    return {
        "ece": interval["value"],
        "ece_low": interval["low"],
        "ece_high": interval["high"],
        "bins": [
            {
                "confidence": found.confidence,
                "accuracy": found.accuracy,
                "num": found.num,
                **_bounds(wilson(round(found.accuracy * found.num), num=found.num)),
            }
            for found in reliability_bins(confidences, correct=correct)
        ],
    }


def _certainties(scores: Sequence[TurnScore]) -> tuple[list[float], list[bool]]:
    return [score.confidence for score in scores], [score.exact for score in scores]


def _rate(flags: Iterable[bool]) -> dict[str, float | int] | None:
    """A share with Wilson's interval; None over nothing."""
    values = list(flags)
    if not values:
        return None
    interval = wilson(sum(values), num=len(values))
    return {"rate": interval.estimate, **_bounds(interval), "num": len(values)}


def _bounds(interval: Interval) -> dict[str, float]:
    return {"low": interval.low, "high": interval.high}


def _over(
    num: int, *, statistic: Callable[[np.ndarray], float], seed: int
) -> dict[str, float | None]:
    """A statistic of the rows 0 to `num - 1`, with its 95% interval over them.

    The percentile bootstrap (Efron 1979); None for what is unknown or unbounded.
    """
    value, low, high = statistic(np.arange(num)), math.nan, math.nan
    if num > 1 and math.isfinite(value):
        rng = generator(seed, "evaluation")
        drawn = sorted(statistic(rng.integers(num, size=num)) for _ in range(_NUM_RESAMPLES))
        # Order statistics, since a resample's ratio may be infinite.
        low, high = drawn[_NUM_RESAMPLES // 40], drawn[-1 - _NUM_RESAMPLES // 40]
    found = {"value": value, "low": low, "high": high}
    return {name: number if math.isfinite(number) else None for name, number in found.items()}


__all__ = ["MIN_TASKS", "Measured", "play_held_out", "predict_turns", "record"]
