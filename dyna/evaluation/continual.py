"""What a stream of experiences left behind: the result matrix and the measures read off it.

Row i of the matrix holds the scores on every task after experience i was learned. What was not
measured is NaN, and so is every measure that needs it: nothing is filled in. Claims about a method
take one matrix per seed (`over_seeds`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from dyna.evaluation.intervals import Interval, student_t


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultMatrix:
    """Scores on T tasks after each of the T experiences that taught them.

    Example: two tasks, the first half forgotten while the second was learned:
    `ResultMatrix(tasks=("heat", "cool"), scores=((0.8, 0.1), (0.4, 0.9)))`

    Raises `ValueError` for scores that are no T x T matrix, or `before` of another length.
    """

    tasks: tuple[str, ...]
    """In the order of the stream."""
    scores: tuple[tuple[float, ...], ...]  # [T, T]
    """`scores[i][j]`: on task j after experience i; NaN where it was not measured."""
    before: tuple[float, ...] = ()  # [T]
    """On each task before the first experience; empty if that was not measured."""

    def __post_init__(self) -> None:
        num = len(self.tasks)
        if not num or len(set(self.tasks)) < num:
            raise ValueError(f"tasks must be names without repeats, got {list(self.tasks)}")
        lengths = [len(row) for row in self.scores]
        if lengths != [num] * num:
            raise ValueError(
                f"scores of {num} tasks must be {num} rows of {num}, got rows of {lengths}"
            )
        if self.before and len(self.before) != num:
            raise ValueError(f"before must hold {num} scores or none, got {len(self.before)}")

    @property
    def final(self) -> tuple[float, ...]:  # [T]
        """On each task after the last experience."""
        return self.scores[-1]

    @property
    def learned(self) -> tuple[float, ...]:  # [T]
        """On each task right after its own experience: the diagonal."""
        return tuple(row[index] for index, row in enumerate(self.scores))

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None, for JSON has none."""
        return {
            "tasks": list(self.tasks),
            "scores": [[_plain(value) for value in row] for row in self.scores],
            "before": [_plain(value) for value in self.before],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What `to_json` gave. Raises `ValueError` for anything else."""
        try:
            return cls(
                tasks=tuple(str(name) for name in values["tasks"]),
                scores=tuple(_row(row) for row in values["scores"]),
                before=_row(values["before"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no result matrix: {error!r}") from error


def average_accuracy(matrix: ResultMatrix) -> float:
    """Mean score on all tasks at the end of the stream (Lopez-Paz and Ranzato, 2017)."""
    return _mean(matrix.final)


def learning_accuracy(matrix: ResultMatrix) -> float:
    """Mean score on each task right after it was learned: plasticity (Riemer et al., 2019)."""
    return _mean(matrix.learned)


def backward_transfer(matrix: ResultMatrix) -> float:
    """BWT: how the score on earlier tasks moved since each was learned; below 0 is forgetting.

    Mean over all tasks but the last of the final score less the score right after the task's own
    experience. Lopez-Paz and Ranzato, "Gradient Episodic Memory" (2017, arXiv 1706.08840). NaN for
    a stream of one task.
    """
    return _mean([end - then for end, then in zip(matrix.final, matrix.learned, strict=True)][:-1])


def forward_transfer(matrix: ResultMatrix) -> float:
    """FWT: what earlier experiences gave a task before its own, against no training at all.

    Mean over all tasks but the first of the score just before the task's own experience less the
    score before the stream. Lopez-Paz and Ranzato (2017). NaN without `before`.
    """
    if not matrix.before:
        return math.nan
    return _mean([matrix.scores[j - 1][j] - matrix.before[j] for j in range(1, len(matrix.tasks))])


def forgetting(matrix: ResultMatrix) -> float:
    """How far the score on earlier tasks lies below the best it ever had; below 0 is gain.

    Mean over all tasks but the last of the best score before the last experience less the final
    one. Chaudhry et al., "Riemannian Walk" (2018, arXiv 1801.10112). NaN for a stream of one task.
    """
    earlier = matrix.scores[:-1]
    return _mean(
        [_max([row[j] for row in earlier]) - matrix.final[j] for j in range(len(matrix.tasks) - 1)]
        if earlier
        else []
    )


def shortfalls(matrix: ResultMatrix, *, reference: Sequence[float]) -> dict[str, float]:
    """By task, how far the final score lies below `reference`: joint training, or the task alone.

    Raises `ValueError` unless the reference holds one score for each task.
    """
    if len(reference) != len(matrix.tasks):
        raise ValueError(
            f"reference must hold {len(matrix.tasks)} scores, one for each task, "
            f"got {len(reference)}"
        )
    return {
        task: expected - found
        for task, expected, found in zip(matrix.tasks, reference, matrix.final, strict=True)
    }


MEASURES: Mapping[str, Callable[[ResultMatrix], float]] = {
    "average_accuracy": average_accuracy,
    "learning_accuracy": learning_accuracy,
    "backward_transfer": backward_transfer,
    "forward_transfer": forward_transfer,
    "forgetting": forgetting,
}
"""By the names under which they are reported."""


def over_seeds(
    matrices: Sequence[ResultMatrix], *, measure: Callable[[ResultMatrix], float]
) -> Interval:
    """Student's t interval of a measure over independent runs, one matrix for each seed.

    Raises `ValueError` for fewer than two, for streams of other tasks, and where a run lacks what
    the measure needs.
    """
    if len({matrix.tasks for matrix in matrices}) > 1:
        raise ValueError("matrices of one comparison must be of the same tasks in the same order")
    values = [measure(matrix) for matrix in matrices]
    missing = [index for index, value in enumerate(values) if math.isnan(value)]
    if missing:
        raise ValueError(f"runs {missing} were not measured where this figure needs it")
    return student_t(values)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _max(values: Sequence[float]) -> float:
    # `max` would pass over a NaN or not, by its place.
    return math.nan if any(map(math.isnan, values)) else max(values)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _row(values: Any) -> tuple[float, ...]:
    return tuple(
        math.nan if value is None else float(value)
        for value in cast("Sequence[float | None]", values)
    )


__all__ = [
    "MEASURES",
    "ResultMatrix",
    "average_accuracy",
    "backward_transfer",
    "forgetting",
    "forward_transfer",
    "learning_accuracy",
    "over_seeds",
    "shortfalls",
]
