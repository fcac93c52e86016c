"""What a run of a stream left behind: the result matrices of both models, and what it remembered.

A matrix is read off the run's own metrics, which hold every experience at the end of each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dyna import configuring
from dyna.evaluation.continual import (
    ResultMatrix,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    learning_accuracy,
)
from dyna.replay.parquet import read_trajectories
from dyna.replay.shelf import kind_of, make_entry
from dyna.stream import Stream
from dyna.tracking import read_metrics
from dyna.types import Metrics, Trajectory

POLICY = "real_success"
MODEL = "em"
MODEL_MEASURES = (MODEL, "reward_em", "termination_em", "em_invalid")
"""One-step exact match of the whole answer, its reward, its ending, and that of impossible
actions."""


def matrix(
    folder: Path, *, measure: str, tasks: Sequence[str], before: Mapping[str, float] | None = None
) -> ResultMatrix:
    """Of the run in `folder`; `before` are the untrained scores by experience.

    Raises `FileNotFoundError` or `ValueError` for a run without metrics, and for one that was not
    measured after every experience.
    """
    stream = Stream.of(configuring.load_saved(folder / "config.yaml"))
    rows = [
        scores(metrics, measure=measure, tasks=tasks)
        for round, metrics in read_metrics(folder)
        if stream.at(round).is_last
    ]
    return ResultMatrix(
        tasks=tuple(tasks),
        scores=tuple(rows),
        before=tuple(before[task] for task in tasks) if before else (),
    )


def scores(metrics: Metrics, *, measure: str, tasks: Sequence[str]) -> tuple[float, ...]:
    """One row: the score on every task; NaN where it was not measured."""
    return tuple(metrics.get(f"experience/{task}/{measure}", math.nan) for task in tasks)


def memory(folder: Path) -> dict[str, float]:
    """Bytes of the past that the run held at its end, of all that it had met, and their ratio."""
    held = read_metrics(folder)[-1][1]["real/memory_bytes"]
    met = sum(
        _held_bytes(trajectory)
        for path in sorted((folder / "experience").glob("*.parquet"))
        for trajectory in read_trajectories(path)
        if not trajectory.stop.is_failure
    )
    return {"memory_bytes": held, "experience_bytes": float(met), "memory_share": held / met}


def _held_bytes(trajectory: Trajectory) -> int:
    """What a buffer that keeps everything would spend on it."""
    entry = make_entry(trajectory, serial=0, key=0.0, kind=kind_of(trajectory), extra_bytes=0)
    return entry.num_bytes


def entry(
    folder: Path, *, seed: int, tasks: Sequence[str], before: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """What is reported of one run of a strategy."""
    matrices = {
        measure: matrix(folder, measure=measure, tasks=tasks, before=before.get(measure))
        for measure in (*MODEL_MEASURES, POLICY)
    }
    last = read_metrics(folder)[-1][1]
    found: dict[str, Any] = {"seed": seed}
    for role, measure in (("model", MODEL), ("policy", POLICY)):
        own = matrices[measure]
        found |= {
            f"{role}_matrix": own.to_json(),
            f"{role}_bwt": backward_transfer(own),
            f"{role}_fwt": none_if_nan(forward_transfer(own)),
            f"{role}_forgetting": forgetting(own),
            f"{role}_average_accuracy": average_accuracy(own),
            f"{role}_learning_accuracy": learning_accuracy(own),
        }
    found["model_measures"] = {
        measure: matrices[measure].to_json() for measure in MODEL_MEASURES[1:]
    }
    return (
        found
        | memory(folder)
        | {
            "real_steps": round(last["ledger/real_steps"]),
            "imagined_steps": round(last["ledger/imagined_steps"]),
            "refused_updates": round(last.get("model/refused_updates", 0.0)),
            "seconds": sum(
                last[name] for name in last if name.startswith("time/") and name.endswith("_s")
            ),
        }
    )


def none_if_nan(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else value


__all__ = [
    "MODEL",
    "MODEL_MEASURES",
    "POLICY",
    "entry",
    "matrix",
    "memory",
    "none_if_nan",
    "scores",
]
