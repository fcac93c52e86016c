"""A budget against what it buys: one line for each strategy that a study tries at several values.

Such strategies are named `STRATEGY@VALUE`, as in `reservoir@0.05`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from dyna.evaluation.continual import backward_transfer, learning_accuracy
from experiments.report.data import Rate
from experiments.report.svg import Frame, text, tight_axis, tip
from experiments.studies.continual.outcomes import ROLES, Measure, Outcome, Outcomes, interval
from experiments.studies.continual.sheet import Panel, order_color, write_sheet

_WIDTH, _HEIGHT = 420.0, 240.0
_LABEL_GAP = 13.0
_MEASURES: Mapping[str, Measure] = {
    "BWT": backward_transfer,
    "learning accuracy": learning_accuracy,
}
_BUDGETS = {
    "continual_memory": "memory, share of all real experience",
    "continual_replay_share": "replayed share of an update",
}

Line = list[tuple[float, Rate]]


def sweeps(study: Outcomes) -> dict[str, dict[float, Sequence[Outcome]]]:
    """By strategy and value; empty for a study that tries each strategy once."""
    found: dict[str, dict[float, Sequence[Outcome]]] = {}
    for name, outcomes in study.strategies.items():
        family, at, value = name.partition("@")
        if at:
            found.setdefault(family, {})[float(value)] = outcomes
    return found


def write_sweep_plot(path: Path, study: Outcomes) -> None:
    """Retention above, plasticity below; model left, policy right; means, 95% intervals."""
    found = sweeps(study)
    budget = _BUDGETS.get(study.name, "value")
    panels: list[Panel] = []
    for label, measure in _MEASURES.items():
        for role in ROLES:
            lines: dict[str, Line] = {}
            for family, values in found.items():
                rates = [
                    (value, interval(outcomes, role=role, measure=measure))
                    for value, outcomes in sorted(values.items())
                ]
                lines[family] = [(value, rate) for value, rate in rates if rate is not None]
            panels.append(Panel(title=f"{role}: {label}", note="", body=_panel(lines, budget)))
    write_sheet(
        path,
        panels,
        width=_WIDTH,
        height=_HEIGHT,
        columns=2,
        title=f"What the {budget.partition(',')[0]} buys: means and 95% intervals over seeds",
    )


def _panel(lines: Mapping[str, Line], budget: str) -> str:
    rates = [rate for line in lines.values() for _, rate in line]
    if not rates:
        return text("not measured", x=_WIDTH / 2, y=_HEIGHT / 2, css="label", anchor="middle")
    lows = [rate.rate if rate.low is None else rate.low for rate in rates]
    highs = [rate.rate if rate.high is None else rate.high for rate in rates]
    values = sorted({value for line in lines.values() for value, _ in line})
    x = tight_axis(values[0], values[-1], label=budget, text=lambda v: f"{v:g}", num=5)
    y = tight_axis(min(lows), max(highs), label="", text=lambda v: f"{round(v, 6) or 0:.3g}", num=5)
    frame = Frame(x=x, y=y, width=_WIDTH, height=_HEIGHT, left=46, right=136)
    parts, ends = [frame.axes()], list[tuple[float, str, str]]()
    for place, (family, line) in enumerate(lines.items()):
        color = order_color(place, num=len(lines))
        points = [(frame.px(value), frame.py(rate.rate), rate) for value, rate in line]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py, _ in points)
        parts.append(f'<polyline class="task" stroke="{color}" points="{path}"/>')
        for (px, py, rate), (value, _) in zip(points, line, strict=True):
            if rate.low is not None and rate.high is not None:
                parts.append(
                    f'<line stroke="{color}" stroke-opacity="0.6" x1="{px:.1f}" x2="{px:.1f}" '
                    f'y1="{frame.py(rate.low):.1f}" y2="{frame.py(rate.high):.1f}"/>'
                )
            parts.append(
                f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3.2" fill="{color}">'
                f"{tip(f'{family} at {value:g}: {rate.rate:.3f}')}</circle>"
            )
        if points:
            ends.append((points[-1][1] + 4, family, color))
    return "".join(parts) + _names(ends, frame=frame)


def _names(ends: Sequence[tuple[float, str, str]], *, frame: Frame) -> str:
    """At the right ends of the lines, pushed apart where they would overlap."""
    parts: list[str] = []
    last = -_LABEL_GAP
    for y, family, color in sorted(ends):
        last = max(y, last + _LABEL_GAP)
        parts.append(
            f'<text class="value" x="{frame.width - frame.right + 8:g}" y="{last:.1f}" '
            f'style="fill:{color}">{escape(family)}</text>'
        )
    return "".join(parts)


__all__ = ["sweeps", "write_sweep_plot"]
