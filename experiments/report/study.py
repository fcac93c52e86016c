"""The sample-efficiency study as one figure and one table.

Every seed is a dot, so that a reader sees what the interval was made from; all arms share one axis
from 0 to 1. Real success is the claim; imagined success stands in the table beside it, never alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna.evaluation.intervals import student_t
from dyna.files import read_json, replacing
from experiments.report.data import Rate
from experiments.report.numbers import count
from experiments.report.svg import marker, text

_COLORS = {
    "dyna": "#0067a8",
    "dyna_frozen": "#3f93c7",
    "real_rl": "#5b646e",
    "filtered_bc": "#8d96a0",
}
_OTHER = "#7a5195"
_STYLE = """
text { font: 14px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #1c2024; }
.tick, .label { fill: #5b646e; } .name { font-weight: 600; } .value { font-weight: 600; }
.grid { stroke: #e6e8eb; } .axis { stroke: #5b646e; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What one way of learning reached, seed by seed."""

    name: str
    real_success: tuple[float, ...]  # [S]
    imagined_success: tuple[float, ...]  # [S'] of the seeds whose arm has a world model
    real_steps: tuple[float, ...]  # [S]
    imagined_steps: tuple[float, ...]  # [S]


def read_study(result: Path) -> tuple[Arm, ...]:
    """The arms of a study's result, in the file's order.

    Raises `FileNotFoundError` or `ValueError` naming the file and what is wrong in it.
    """
    found = read_json(result)
    arms = found.get("arms") if isinstance(found, dict) else None
    if not isinstance(arms, dict) or not arms:
        raise ValueError(f'{result} must be an object with "arms": {{name: [one entry per seed]}}')
    return tuple(_arm(name, entries=entries, result=result) for name, entries in arms.items())


def _arm(name: str, *, entries: Any, result: Path) -> Arm:
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{result}: arm {name!r} holds no seed; run the study to its end")
    try:
        return Arm(
            name=name,
            real_success=tuple(float(entry["real_success"]) for entry in entries),
            imagined_success=tuple(
                float(entry["imagined_success"])
                for entry in entries
                if entry.get("imagined_success") is not None
            ),
            real_steps=tuple(float(entry["real_steps"]) for entry in entries),
            imagined_steps=tuple(float(entry.get("imagined_steps") or 0) for entry in entries),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{result}: arm {name!r} lacks {error} in some entry") from error


def write_study_figure(result: Path, figure: Path) -> None:
    """Draw `result` to the SVG file `figure`, on white so that it reads on any page."""
    arms = read_study(result)
    with replacing(figure) as draft:
        draft.write_text(draw_study(arms), encoding="utf-8")


def draw_study(arms: Sequence[Arm]) -> str:
    """Arms side by side: a dot per seed, the mean as a bar with its 95% t-interval."""
    left, right, top, bottom, height = 60.0, 24.0, 46.0, 74.0, 420.0
    width = left + right + 150.0 * max(len(arms), 3)
    floor, span = height - bottom, height - bottom - top
    parts = [
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#ffffff"/>',
        text("Real success on held-out tasks", x=left - 40, y=26, css="name"),
    ]
    for i in range(6):
        y = floor - span * i / 5
        parts.append(
            f'<line class="{"axis" if i == 0 else "grid"}" x1="{left}" x2="{width - right}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(text(f"{i / 5:.1f}", x=left - 10, y=y + 5, css="tick", anchor="end"))
    step = (width - left - right) / len(arms)
    for i, arm in enumerate(arms):
        parts.append(_column(arm, x=left + step * (i + 0.5), floor=floor, span=span))
    seeds = max(len(arm.real_success) for arm in arms)
    said = f"one dot per seed (up to {seeds}); line: mean and 95% t-interval over seeds"
    parts.append(text(said, x=width / 2, y=height - 10, css="label", anchor="middle"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" role="img" '
        f'aria-label="Real success of each arm of the sample-efficiency study">'
        f"<style>{_STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _column(arm: Arm, *, x: float, floor: float, span: float) -> str:
    color = _COLORS.get(arm.name, _OTHER)
    rate = mean_rate(arm.real_success)

    def at(value: float) -> float:
        return floor - span * min(1.0, max(0.0, value))

    mean = at(rate.rate)
    parts, strokes = [f'<g fill="{color}" stroke="{color}">'], [(mean, 20.0)]
    if rate.low is not None and rate.high is not None:
        low, high = at(rate.low), at(rate.high)
        strokes += [(low, 8.0), (high, 8.0)]
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" stroke-width="2.5"/>'
        )
    for y, half in strokes:
        parts.append(
            f'<line x1="{x - half:.1f}" x2="{x + half:.1f}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke-width="2.5"/>'
        )
    num = len(arm.real_success)
    for i, value in enumerate(arm.real_success):
        # Seeds stand beside the interval, spread so that equal ones stay apart.
        place = x - 44 + 6.0 * (i - (num - 1) / 2) * min(1.0, 5 / num)
        title = f"{arm.name}, seed {i + 1} of {num}: {value:.3f}"
        dot = marker(place, at(value), shape="circle", css="seed", title=title)
        parts.append(f'<g fill-opacity="0.65" stroke="none">{dot}</g>')
    parts.append("</g>")
    parts.append(text(f"{rate.rate:.2f}", x=x + 26, y=mean + 5, css="value"))
    parts.append(text(arm.name, x=x, y=floor + 22, css="name", anchor="middle"))
    steps = sum(arm.real_steps) / num
    parts.append(
        text(f"{count(steps)} real steps", x=x, y=floor + 40, css="label", anchor="middle")
    )
    return "".join(parts)


def study_table(result: Path) -> str:
    """A Markdown table: mean [low, high] of success, real and imagined steps, arm by arm."""
    rows = [
        "| arm | seeds | real success | imagined success | real steps | imagined steps |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for arm in read_study(result):
        num = len(arm.real_success)
        imagined = mean_rate(arm.imagined_success) if arm.imagined_success else None
        cells = [
            f"`{arm.name}`",
            str(num),
            _rate_text(mean_rate(arm.real_success)),
            "none" if imagined is None else _rate_text(imagined),
            count(sum(arm.real_steps) / num),
            count(sum(arm.imagined_steps) / num),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def mean_rate(values: Sequence[float]) -> Rate:
    """The mean over seeds with its 95% t-interval; without one for a single seed."""
    if len(values) < 2:
        return Rate(rate=values[0], num=1)
    found = student_t(values)
    return Rate(rate=found.estimate, low=found.low, high=found.high, num=len(values))


def _rate_text(rate: Rate) -> str:
    tail = "" if rate.low is None else f" [{rate.low:.3f}, {rate.high:.3f}]"
    return f"{rate.rate:.3f}{tail}"
