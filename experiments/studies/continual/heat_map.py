"""Heat maps of the result matrix R: what was known of every task after every experience.

Read a column downwards: from the framed cell on, where its task was learned, it should not fade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from experiments.report.svg import text, tip
from experiments.studies.continual.outcomes import Outcomes, mean_matrix, mean_reference
from experiments.studies.continual.sheet import Panel, score_color, write_sheet

_CELL, _LABEL, _GAP, _HEAD = (34.0, 23.0), 96.0, 7.0, 17.0
_LONG_NAME = 14


def write_heat_maps(path: Path, study: Outcomes, *, role: str) -> None:
    """One matrix for each strategy, the mean over its seeds; above it the scores before, below
    it joint training, where they were measured."""
    num = len(study.tasks)
    joint = mean_reference(study, "joint", role=role)
    panels: list[Panel] = []
    for name, outcomes in study.strategies.items():
        matrix = mean_matrix(outcomes, role=role)
        rows = [(f"{i + 1} {short(task)}", matrix.scores[i]) for i, task in enumerate(study.tasks)]
        body, y = _head(num), _HEAD
        if matrix.before:
            body += _row("before", matrix.before, y=y)
            y += _CELL[1] + _GAP
        for i, (label, scores) in enumerate(rows):
            body += _row(label, scores, y=y + i * _CELL[1])
        for i in range(num):
            body += _frame(i, y=y + i * _CELL[1])
        y += num * _CELL[1] + _GAP
        if joint:
            body += _row("joint training", joint, y=y)
        seeds = len(outcomes)
        panels.append(Panel(title=name, note=f"mean of {seeds} seed{'s'[: seeds > 1]}", body=body))
    subject = "world model, exact match" if role == "model" else "policy, real success"
    height = _HEAD + (num + 2) * _CELL[1] + 2 * _GAP
    write_sheet(
        path,
        panels,
        width=_LABEL + num * _CELL[0],
        height=height,
        columns=3 if num <= 4 else 2,
        title=f"{subject}, in %: a row after each experience, a column for each task",
    )


def short(task: str) -> str:
    """A task's name where space is short."""
    return task if len(task) <= _LONG_NAME else f"{task[: _LONG_NAME - 2]}.."


def _head(num: int) -> str:
    return "".join(
        text(str(j + 1), x=_LABEL + (j + 0.5) * _CELL[0], y=_HEAD - 5, css="tick", anchor="middle")
        for j in range(num)
    )


def _row(label: str, scores: Sequence[float], *, y: float) -> str:
    width, height = _CELL
    parts = [text(label, x=_LABEL - 8, y=y + height / 2 + 4, css="tick", anchor="end")]
    for j, score in enumerate(scores):
        x, unknown = _LABEL + j * width, math.isnan(score)
        color = "#ffffff" if unknown else score_color(score)
        said = "n/a" if unknown else f"{100 * score:.0f}"
        css = "light" if not unknown and score > 0.6 else "dark"
        parts.append(
            f'<rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{width - 1:g}" '
            f'height="{height - 1:g}" fill="{color}">'
            f"{tip(f'{label}, task {j + 1}: {said}')}</rect>"
        )
        parts.append(text(said, x=x + width / 2, y=y + height / 2 + 4, css=css, anchor="middle"))
    return "".join(parts)


def _frame(task: int, *, y: float) -> str:
    """Around the cell where the task was learned."""
    return (
        f'<rect class="own" x="{_LABEL + task * _CELL[0] + 1:.1f}" y="{y + 1:.1f}" '
        f'width="{_CELL[0] - 2:g}" height="{_CELL[1] - 2:g}"/>'
    )


__all__ = ["short", "write_heat_maps"]
