"""Backward transfer of every strategy in one figure: model and policy, seeds, interval and goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from dyna.evaluation.continual import backward_transfer
from experiments.report.svg import Axis, marker, text, tight_axis
from experiments.studies.continual.outcomes import ROLES, Outcome, Outcomes, interval
from experiments.studies.continual.sheet import Panel, write_sheet
from experiments.studies.continual.tables import GOALS

_ROW, _LABEL, _SPAN, _VALUE = 26.0, 140.0, 190.0, 56.0
_COLOR = "#2171b5"


def write_transfer_plot(path: Path, study: Outcomes) -> None:
    """A row for each strategy; at 0 nothing was forgotten, left of it something was."""
    panels: list[Panel] = []
    for role in ROLES:
        values = {
            name: [backward_transfer(outcome.matrices[role]) for outcome in outcomes]
            for name, outcomes in study.strategies.items()
        }
        known = [v for row in values.values() for v in row if not math.isnan(v)]
        if known:
            body = _panel(study, role=role, values=values, known=known)
            panels.append(Panel(title=role, note=f"dashed: goal, {GOALS[role]:+.2f}", body=body))
    if panels:
        write_sheet(
            path,
            panels,
            width=_LABEL + _SPAN + _VALUE,
            height=_ROW * len(study.strategies) + 24,
            columns=2,
            title="Backward transfer, below 0 is forgetting: seeds, mean and 95% interval",
        )


def _panel(
    study: Outcomes, *, role: str, values: dict[str, list[float]], known: Sequence[float]
) -> str:
    goal = GOALS[role]
    axis = tight_axis(
        min(*known, goal),
        max(*known, 0.0),
        label="BWT",
        text=lambda v: f"{round(v, 6) or 0:.2g}",
        num=4,
    )
    floor = _ROW * len(study.strategies)
    parts = [_guide(axis, value=tick, floor=floor, css="grid") for tick in axis.ticks]
    parts += [_guide(axis, value=goal, floor=floor, css="goal")]
    parts += [
        text(axis.text(tick), x=_at(axis, tick), y=floor + 16, css="tick", anchor="middle")
        for tick in axis.ticks
    ]
    for i, (name, outcomes) in enumerate(study.strategies.items()):
        y = _ROW * (i + 0.5)
        parts.append(text(name, x=_LABEL - 10, y=y + 4, css="tick", anchor="end"))
        parts.append(_row(outcomes, role=role, values=values[name], axis=axis, y=y))
    return "".join(parts)


def _row(
    outcomes: Sequence[Outcome], *, role: str, values: Sequence[float], axis: Axis, y: float
) -> str:
    parts = [f'<g fill="{_COLOR}" fill-opacity="0.55">']
    for outcome, value in zip(outcomes, values, strict=True):
        if not math.isnan(value):
            title = f"seed {outcome.seed}: {value:+.3f}"
            parts.append(marker(_at(axis, value), y, shape="circle", css="seed", title=title))
    parts.append("</g>")
    found = interval(outcomes, role=role, measure=backward_transfer)
    right = _LABEL + _SPAN + _VALUE
    if found is None:
        return "".join(parts) + text("n/a", x=right, y=y + 4, css="value", anchor="end")
    if found.low is not None and found.high is not None:
        parts.append(
            f'<line class="axis" stroke-width="2" x1="{_at(axis, found.low):.1f}" '
            f'x2="{_at(axis, found.high):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
    x = _at(axis, found.rate)
    parts.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 8:.1f}" y2="{y + 8:.1f}" stroke="#1c2024" '
        'stroke-width="2.5"/>'
    )
    parts.append(text(f"{found.rate:+.3f}", x=right, y=y + 4, css="value", anchor="end"))
    return "".join(parts)


def _guide(axis: Axis, *, value: float, floor: float, css: str) -> str:
    x = _at(axis, value)
    return f'<line class="{css}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{floor:g}"/>'


def _at(axis: Axis, value: float) -> float:
    return _LABEL + _SPAN * axis.at(value)


__all__ = ["write_transfer_plot"]
