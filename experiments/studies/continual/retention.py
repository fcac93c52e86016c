"""Retention curves: every task from its own experience to the end of the stream."""

from __future__ import annotations

import math
from pathlib import Path

from dyna.evaluation.continual import ResultMatrix
from experiments.report.svg import text, tip
from experiments.studies.continual.heat_map import short
from experiments.studies.continual.outcomes import Outcomes, mean_matrix, mean_reference
from experiments.studies.continual.sheet import Panel, order_color, write_sheet

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _FLOOR = 372.0, 180.0, 34.0, 30.0, 160.0
_LABEL_GAP = 12.0
_LEGEND = 20.0


def write_retention(path: Path, study: Outcomes, *, role: str) -> None:
    """One panel for each strategy, the mean over its seeds: a thin line for each task, a thick one
    for the mean of what was learned so far, dots for the mean of joint training."""
    joint = mean_reference(study, "joint", role=role)
    level = math.fsum(joint) / len(joint) if joint else None
    panels: list[Panel] = []
    for name, outcomes in study.strategies.items():
        matrix = mean_matrix(outcomes, role=role)
        end = math.fsum(matrix.final) / len(matrix.final)
        said = "n/a" if math.isnan(end) else f"{100 * end:.1f}% at the end"
        panels.append(Panel(title=name, note=said, body=_panel(matrix, joint=level)))
    subject = "world model, exact match" if role == "model" else "policy, real success"
    rows = math.ceil((len(study.tasks) + 2) / 6)
    write_sheet(
        path,
        panels,
        width=_WIDTH,
        height=_HEIGHT,
        columns=2,
        title=f"{subject}, in %, after each experience",
        legend=_legend(study.tasks, joint=level is not None),
        legend_height=_LEGEND * rows,
    )


def _panel(matrix: ResultMatrix, *, joint: float | None) -> str:
    num = len(matrix.tasks)
    parts: list[str] = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(tick)
        css = "axis" if tick == 0 else "grid"
        parts.append(
            f'<line class="{css}" x1="{_LEFT:g}" x2="{_WIDTH - _RIGHT:g}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/>'
            + text(f"{100 * tick:.0f}", x=_LEFT - 6, y=y + 4, css="tick", anchor="end")
        )
    for i in range(num):
        parts.append(text(str(i + 1), x=_x(i, num=num), y=_FLOOR + 16, css="tick", anchor="middle"))
    if joint is not None:
        y, right = _y(joint), _WIDTH - _RIGHT
        parts.append(
            f'<line class="joint" x1="{_LEFT:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}">'
            f"{tip(f'joint training, mean of all tasks: {joint:.3f}')}</line>"
        )
    for j, task in enumerate(matrix.tasks):
        color = order_color(j, num=num)
        scores = [(i, matrix.scores[i][j]) for i in range(j, num)]
        said = f"{task}: " + ", ".join(f"{score:.2f}" for _, score in scores)
        parts.append(_line(scores, num=num, css="task", stroke=color, said=said))
        parts += [
            f'<circle cx="{_x(i, num=num):.1f}" cy="{_y(score):.1f}" r="2.2" fill="{color}"/>'
            for i, score in scores
            if not math.isnan(score)
        ]
    means = [(i, math.fsum(matrix.scores[i][: i + 1]) / (i + 1)) for i in range(num)]
    said = "mean of what was learned so far: " + ", ".join(f"{v:.3f}" for _, v in means)
    parts.append(_line(means, num=num, css="mean", stroke="", said=said))
    return "".join(parts) + _ends(matrix)


def _line(scores: list[tuple[int, float]], *, num: int, css: str, stroke: str, said: str) -> str:
    points = " ".join(
        f"{_x(i, num=num):.1f},{_y(score):.1f}" for i, score in scores if not math.isnan(score)
    )
    color = f' stroke="{stroke}"' if stroke else ""
    return f'<polyline class="{css}"{color} points="{points}">{tip(said)}</polyline>'


def _ends(matrix: ResultMatrix) -> str:
    """The tasks' numbers at the ends of their lines, pushed apart where they would overlap."""
    num = len(matrix.tasks)
    ends = sorted(
        (_y(score) + 4, j) for j, score in enumerate(matrix.final) if not math.isnan(score)
    )
    ys: list[float] = []
    for y, _ in ends:
        ys.append(max(y, ys[-1] + _LABEL_GAP) if ys else y)
    # What was pushed below the axis goes up again, and pushes only what is in its way.
    lowest = _FLOOR + 4
    for place in reversed(range(len(ys))):
        ys[place] = min(ys[place], lowest)
        lowest = ys[place] - _LABEL_GAP
    parts: list[str] = []
    for y, (_, j) in zip(ys, ends, strict=True):
        color = order_color(j, num=num)
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 8:g}" y="{y:.1f}" style="fill:{color}" '
            f'class="value">{j + 1}</text>'
        )
    return "".join(parts)


def _legend(tasks: tuple[str, ...], *, joint: bool) -> str:
    """Six entries to a row."""
    entries = [
        (f"{j + 1} {short(task)}", f'class="task" stroke="{order_color(j, num=len(tasks))}"')
        for j, task in enumerate(tasks)
    ]
    entries.append(("mean so far", 'class="mean"'))
    if joint:
        entries.append(("mean of joint", 'class="joint"'))
    parts: list[str] = []
    for place, (label, style) in enumerate(entries):
        x, y = (place % 6) * 128.0, (place // 6) * _LEGEND
        parts.append(f'<line {style} x1="{x:g}" x2="{x + 18:g}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(text(label, x=x + 23, y=y + 4, css="tick"))
    return "".join(parts)


def _x(experience: int, *, num: int) -> float:
    span = _WIDTH - _LEFT - _RIGHT - 16
    return _LEFT + 8 + span * (experience / (num - 1) if num > 1 else 0.5)


def _y(score: float) -> float:
    return _FLOOR - (_FLOOR - 6) * min(1.0, max(0.0, score))


__all__ = ["write_retention"]
