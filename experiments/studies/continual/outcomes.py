"""A finished study of continual learning, read back: for each strategy one outcome for each seed.

Tables, figures and the verdict all read this, so they cannot differ. Every measure is computed from
the result matrices; a figure that some seed lacks is unknown, never filled in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna.evaluation.continual import ResultMatrix, over_seeds, shortfalls
from dyna.evaluation.intervals import student_t
from dyna.files import read_json
from experiments.report.data import Rate
from experiments.studies.continual.results import MODEL, POLICY

ROLES: Mapping[str, str] = {"model": MODEL, "policy": POLICY}
"""Who may forget, and the measure of its headline matrix."""
JOINT_MARGIN = 0.03
"""A task is retained when it ends within 3 points of joint training."""

Measure = Callable[[ResultMatrix], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one seed of one strategy came to."""

    seed: int
    matrices: Mapping[str, ResultMatrix]
    """By role."""
    memory_share: float
    """Bytes of the past that it held at the end, of all that it had met."""
    memory_bytes: float
    real_steps: float
    imagined_steps: float
    refused_updates: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Scores on every task of one seed of what frames the strategies."""

    seed: int
    scores: Mapping[str, tuple[float, ...]]  # role -> [T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Of a whole study."""

    name: str
    tasks: tuple[str, ...]
    machine: str
    settings: Mapping[str, Any]
    """As the study's YAML."""
    strategies: Mapping[str, tuple[Outcome, ...]]
    """In the order in which the study names them; those of other calls after them."""
    references: Mapping[str, tuple[Reference, ...]]
    """Before, joint, alone; without those that were not run."""

    def reference(self, name: str, *, role: str, seed: int) -> tuple[float, ...] | None:
        """Scores on every task, of the run with this seed."""
        rows = [row.scores[role] for row in self.references.get(name, ()) if row.seed == seed]
        return rows[0] if rows else None


def read_outcomes(result: Path) -> Outcomes:
    """`result` is `<name>.json` beside its `<name>.study.json`.

    Raises `FileNotFoundError` or `ValueError` naming the file and what is wrong in it.
    """
    frame_path = result.with_suffix(".study.json")
    found, frame = read_json(result), read_json(frame_path)
    try:
        order = [*frame["study"]["strategies"], *found]
        strategies = {
            name: tuple(_outcome(entry) for entry in found[name])
            for name in dict.fromkeys(order)
            if found.get(name)
        }
        references = {
            name: tuple(_reference(entry) for entry in entries)
            for name, entries in frame["references"].items()
            if entries
        }
        study = dict(frame["study"])
        read = Outcomes(
            name=str(study["name"]),
            tasks=tuple(frame["tasks"]),
            machine=str(frame["machine"]),
            settings=study,
            strategies=strategies,
            references=references,
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{result} and {frame_path.name} are no results of a study of continual learning: "
            f"{error!r}; run `python -m experiments.studies.continual` again"
        ) from error
    for name, outcomes in strategies.items():
        for outcome in outcomes:
            if outcome.matrices["model"].tasks != read.tasks:
                raise ValueError(
                    f"{result}: strategy {name!r} is of tasks "
                    f"{', '.join(outcome.matrices['model'].tasks)}, the study now of "
                    f"{', '.join(read.tasks)}; delete {result.name} and run the study again"
                )
    return read


def interval(outcomes: Sequence[Outcome], *, role: str, measure: Measure) -> Rate | None:
    """A measure's mean over seeds with its 95% interval; without one for a single seed; None where
    some seed was not measured."""
    matrices = [outcome.matrices[role] for outcome in outcomes]
    if any(math.isnan(measure(matrix)) for matrix in matrices):
        return None
    if len(matrices) < 2:
        return Rate(rate=measure(matrices[0]), num=1)
    found = over_seeds(matrices, measure=measure)
    return Rate(rate=found.estimate, low=found.low, high=found.high, num=len(matrices))


def mean(values: Sequence[float]) -> Rate | None:
    """The mean over seeds with its 95% interval; None where some value is unknown."""
    if not values or any(math.isnan(value) for value in values):
        return None
    if len(values) < 2:
        return Rate(rate=values[0], num=1)
    found = student_t(values)
    return Rate(rate=found.estimate, low=found.low, high=found.high, num=len(values))


def mean_matrix(outcomes: Sequence[Outcome], *, role: str) -> ResultMatrix:
    """Cell by cell over the seeds; a cell that some seed lacks is NaN."""
    matrices = [outcome.matrices[role] for outcome in outcomes]
    befores = [matrix.before for matrix in matrices]
    return ResultMatrix(
        tasks=matrices[0].tasks,
        scores=tuple(
            _columns([matrix.scores[i] for matrix in matrices])
            for i in range(len(matrices[0].tasks))
        ),
        before=_columns(befores) if all(befores) else (),
    )


def mean_reference(study: Outcomes, name: str, *, role: str) -> tuple[float, ...]:  # [T]
    """Task by task over the seeds; empty where it was not run."""
    rows = [row.scores[role] for row in study.references.get(name, ())]
    return _columns(rows) if rows else ()


def against_joint(study: Outcomes, outcome: Outcome, *, role: str) -> dict[str, float] | None:
    """By task, how far the seed ends below joint training of the same seed; None without it."""
    joint = study.reference("joint", role=role, seed=outcome.seed)
    return None if joint is None else shortfalls(outcome.matrices[role], reference=joint)


def _outcome(entry: Mapping[str, Any]) -> Outcome:
    return Outcome(
        seed=int(entry["seed"]),
        matrices={role: ResultMatrix.from_json(entry[f"{role}_matrix"]) for role in ROLES},
        memory_share=float(entry["memory_share"]),
        memory_bytes=float(entry["memory_bytes"]),
        real_steps=float(entry["real_steps"]),
        imagined_steps=float(entry["imagined_steps"]),
        refused_updates=float(entry["refused_updates"]),
        seconds=float(entry["seconds"]),
    )


def _reference(entry: Mapping[str, Any]) -> Reference:
    return Reference(
        seed=int(entry["seed"]),
        scores={
            role: tuple(math.nan if value is None else float(value) for value in entry[measure])
            for role, measure in ROLES.items()
        },
    )


def _columns(rows: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(math.fsum(column) / len(column) for column in zip(*rows, strict=True))


__all__ = [
    "JOINT_MARGIN",
    "ROLES",
    "Measure",
    "Outcome",
    "Outcomes",
    "Reference",
    "against_joint",
    "interval",
    "mean",
    "mean_matrix",
    "mean_reference",
    "read_outcomes",
]
