"""Figures of `evaluation.json`: the world model and the agent, measured after the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.report.data import Rate, read_rate
from experiments.report.numbers import percent, rate_text
from experiments.report.svg import (
    Bar,
    Frame,
    Point,
    Series,
    bar_chart,
    line_chart,
    linear_axis,
    unit_axis,
)


def section(evaluation: Mapping[str, Any], *, name: str) -> Mapping[str, Any]:
    """A named part of the evaluation; empty if it is missing."""
    part = evaluation.get(name)
    return part if isinstance(part, Mapping) else {}


def success_figure(evaluation: Mapping[str, Any]) -> str:
    """Real, WM and W2R success; nothing at all when the real one is unknown."""
    success = section(evaluation, name="success")
    rows = [
        ("real", "Real", "real", "the agent in the real world"),
        ("wm", "World model", "imagined", "the agent inside the world model"),
        ("w2r", "W2R", "gap", "the model's actions replayed open-loop in the real world"),
    ]
    rates = {key: read_rate(success.get(key)) for key, _, _, _ in rows}
    if rates["real"] is None:
        return ""
    bars: list[Bar] = []
    for key, label, css, meaning in rows:
        if (rate := rates[key]) is not None:
            tip = f"{meaning}\n{_said(rate)}"
            bars.append(_rate_bar(rate, label=label, css=css, tip=tip, digits=0))
    return bar_chart(bars, axis=unit_axis(), label="Success: real, in the world model, and W2R")


def _said(rate: Rate, *, digits: int = 0) -> str:
    tail = "" if rate.num is None else f" of {rate.num:,}"
    return rate_text(rate, digits=digits) + tail


def _rate_bar(
    rate: Rate, *, label: str, css: str, tip: str, digits: int = 1, gap_before: bool = False
) -> Bar:
    return Bar(
        label=label,
        value=rate.rate,
        text=rate_text(rate, digits=digits),
        css=css,
        tip=tip,
        low=rate.low,
        high=rate.high,
        gap_before=gap_before,
    )


def _dots(bars: Sequence[Bar], *, label: str) -> str:
    lowest = min(bar.value if bar.low is None else bar.low for bar in bars)
    return bar_chart(bars, axis=unit_axis(lowest=lowest), label=label, dots=True)


def one_step_figure(evaluation: Mapping[str, Any]) -> str:
    """Exact match of one-step predictions and its parts, invalid actions apart."""
    one_step = section(evaluation, name="one_step")
    rows = [
        ("em", "all (EM)", "model", False),
        ("observation", "observation", "model", True),
        ("reward", "reward", "model", False),
        ("termination", "termination", "model", False),
        ("valid", "valid actions", "ink", True),
        ("invalid", "invalid actions", "gap", False),
    ]
    bars: list[Bar] = []
    for key, label, css, apart in rows:
        if (rate := read_rate(one_step.get(key))) is not None:
            tip = f"{label}\n{_said(rate, digits=1)}"
            bars.append(_rate_bar(rate, label=label, css=css, tip=tip, gap_before=apart))
    if not bars:
        return ""
    return _dots(bars, label="One-step exact match and its parts")


def kinds_figure(evaluation: Mapping[str, Any]) -> str:
    """Exact match by kind of action, worst first; the parts are in the tooltip."""
    kinds = section(section(evaluation, name="one_step"), name="kinds")
    found = [(k, v, r) for k, v in kinds.items() if (r := read_rate(v.get("em"))) is not None]
    if not found:
        return ""
    bars: list[Bar] = []
    for kind, parts, rate in sorted(found, key=lambda item: item[2].rate):
        lines = [str(kind), f"all right {_said(rate, digits=1)}"]
        for part in ("observation", "reward", "termination"):
            if (part_rate := read_rate(parts.get(part))) is not None:
                lines.append(f"{part} {rate_text(part_rate, digits=1)}")
        bars.append(_rate_bar(rate, label=str(kind), css="model", tip="\n".join(lines)))
    return _dots(bars, label="One-step exact match by kind of action")


def divergence_figure(evaluation: Mapping[str, Any]) -> str:
    """How many dreams first parted from the world at each step."""
    consistency = section(evaluation, name="consistency")
    steps = section(consistency, name="first_divergence")
    counts = sorted((int(step), float(num)) for step, num in steps.items())
    never = consistency.get("never_diverged")
    if not counts and never is None:
        return ""
    bars = [
        Bar(
            label=f"step {step}",
            value=num,
            text=f"{num:g}",
            css="imagined",
            tip=f"{num:g} dreams first parted from the world at step {step}",
        )
        for step, num in counts
    ]
    if never is not None:
        bars.append(
            Bar(
                label="never",
                value=float(never),
                text=f"{never:g}",
                css="real",
                tip=f"{never:g} dreams never parted from the world",
                gap_before=True,
            )
        )
    high = max(bar.value for bar in bars)
    axis = linear_axis(0, high, label="dreams", text=lambda v: f"{v:g}", num=4)
    return bar_chart(bars, axis=axis, label="Step of first divergence", label_width=80)


def selective_figure(evaluation: Mapping[str, Any]) -> str:
    """Accuracy on the share of steps that the model is most confident of."""
    entries = evaluation.get("selective") or []
    points = [Point(x=float(e["coverage"]), y=float(e["accuracy"])) for e in entries]
    if len(points) < 2:
        return ""
    # A curve has a point per distinct confidence; forty show its shape, the last one among them.
    points = points[:: -max(1, len(points) // 40)][::-1]
    lowest = min(p.y for p in points)
    y = unit_axis(lowest=lowest)
    return line_chart(
        [Series(label="exact", css="model", points=points)],
        frame=Frame(x=unit_axis("share of steps kept, surest first"), y=y, right=60),
        tips=[(p.x, f"surest {percent(p.x)}\n{percent(p.y, digits=1)} exact") for p in points],
        label="Selective fidelity: accuracy against coverage",
    )


def calibration_figure(evaluation: Mapping[str, Any]) -> str:
    """How often predictions of a given confidence are right; the diagonal is perfect."""
    bins = section(evaluation, name="calibration").get("bins") or []
    filled = [b for b in bins if b.get("num") and b.get("accuracy") is not None]
    if not filled:
        return ""
    points = [Point(x=float(b["confidence"]), y=float(b["accuracy"])) for b in filled]
    frame = Frame(x=unit_axis("confidence of the model"), y=unit_axis(), right=70)
    extra = (
        f'<line class="zero" x1="{frame.px(0):.1f}" y1="{frame.py(0):.1f}" '
        f'x2="{frame.px(1):.1f}" y2="{frame.py(1):.1f}"/>'
    )
    tips = [
        (
            p.x,
            f"confidence {percent(p.x)}\nright {percent(p.y, digits=1)}\n{int(b['num']):,} steps",
        )
        for p, b in zip(points, filled, strict=True)
    ]
    return line_chart(
        [Series(label="right", css="model", points=points)],
        frame=frame,
        tips=tips,
        extra=extra,
        label="Calibration: accuracy against confidence",
    )
