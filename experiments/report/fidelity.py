"""Figures of how right the world model is: over rounds, by kind of action, by depth of dream.

Actions that the world refuses have their own series and their own place: a model that is right on
the actions people log can still be exploited through those nobody took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from experiments.report.data import Round, Run
from experiments.report.learning import round_axis
from experiments.report.numbers import percent
from experiments.report.svg import Axis, Bar, Frame, Point, Series, bar_chart, line_chart, unit_axis

INVALID = "invalid"


def fidelity_figure(run: Run) -> str:
    """One-step exact match by round: all turns, and valid and invalid actions apart."""
    names = {
        "model/em": ("all turns", "model", "circle", False),
        "model/em_valid": ("valid", "ink", "square", False),
        "model/em_invalid": ("invalid", "gap", "diamond", True),
    }
    return _rounds_figure(run, names=names, label="One-step exact match of the world model")


def wins_figure(run: Run) -> str:
    """Precision and recall of predicted successes, and which updates the gate held back."""
    names = {
        "model/win_precision": ("precision", "model", "circle", False),
        "model/win_recall": ("recall", "gap", "diamond", True),
    }
    return _rounds_figure(run, names=names, label="Predicted successes: precision and recall")


def _rounds_figure(run: Run, *, names: Mapping[str, tuple[str, str, str, bool]], label: str) -> str:
    rounds = [r for r in run.rounds if any(r.get(name) is not None for name in names)]
    if not rounds:
        return ""
    series = [
        Series(
            label=title,
            css=css,
            marker=shape,
            dashed=dashed,
            points=[Point(x=r.index, y=r.metrics[name]) for r in rounds if name in r.metrics],
        )
        for name, (title, css, shape, dashed) in names.items()
    ]
    tips: list[tuple[float, str]] = []
    for entry in rounds:
        lines = [f"round {entry.index}"]
        lines += [
            f"{names[n][0]} {percent(entry.metrics[n], digits=1)}"
            for n in names
            if n in entry.metrics
        ]
        if (accepted := entry.get("model/gate_accepted")) is not None:
            lines.append("update went live" if accepted >= 1 else "update held back by the gate")
        tips.append((entry.index, "\n".join(lines)))
    frame = Frame(x=round_axis(rounds), y=_from(series))
    return line_chart(
        [entry for entry in series if entry.points],
        frame=frame,
        tips=tips,
        extra=_held_back(rounds, frame=frame),
        label=label,
    )


def _held_back(rounds: Sequence[Round], *, frame: Frame) -> str:
    """A dotted line through each round whose update did not go live."""
    top, bottom = frame.py(frame.y.high), frame.py(frame.y.low)
    return "".join(
        f'<line class="held" x1="{frame.px(r.index):.1f}" x2="{frame.px(r.index):.1f}" '
        f'y1="{top:.1f}" y2="{bottom:.1f}"/>'
        for r in rounds
        if r.metrics.get("model/gate_accepted", 1.0) < 1
    )


def _from(series: Sequence[Series]) -> Axis:
    """A share axis whose foot is as high as the data lets it be; the ticks say where it starts."""
    lowest = min(p.y for entry in series for p in entry.points)
    return unit_axis(lowest=lowest)


def kinds_figure(run: Run) -> str:
    """Exact match by kind of action in the newest check, worst first, invalid ones apart."""
    newest = run.latest_named("model/em_kind/")
    if newest is None:
        return ""
    kinds = newest.named("model/em_kind/")
    invalid = newest.get("model/em_invalid")
    if invalid is None:
        invalid = kinds.get(INVALID)
    ranked = sorted((value, kind) for kind, value in kinds.items() if kind != INVALID)
    bars = [
        Bar(
            label=kind,
            value=value,
            text=percent(value, digits=1),
            css="model",
            tip=f"{kind}\n{percent(value, digits=1)} exact, round {newest.index}",
        )
        for value, kind in ranked
    ]
    if not ranked and invalid is None:
        return ""
    if invalid is not None:
        bars.append(
            Bar(
                label="invalid actions",
                value=invalid,
                text=percent(invalid, digits=1),
                css="gap",
                tip=f"actions the world refuses\n{percent(invalid, digits=1)} exact, "
                f"round {newest.index}",
                gap_before=True,
            )
        )
    axis = unit_axis(lowest=min(bar.value for bar in bars))
    return bar_chart(bars, axis=axis, label="Exact match by kind of action", dots=True)


def depth_figure(run: Run) -> str:
    """Exact match by depth: how many predictions in a row the model has already made."""
    newest = run.latest_named("model/em_depth/")
    if newest is None:
        return ""
    depths = sorted(
        (int(depth), value)
        for depth, value in newest.named("model/em_depth/").items()
        if depth.isdigit()
    )
    if not depths:
        return ""
    step = max(1, len(depths) // 8)
    last = max(depths[-1][0], depths[0][0] + 1)
    ticks = tuple(float(depth) for depth, _ in depths[::step])
    series = Series(
        label="exact", css="model", points=[Point(x=depth, y=value) for depth, value in depths]
    )
    x = Axis(
        low=depths[0][0], high=last, ticks=ticks, label="depth of dream", text=lambda v: f"{v:g}"
    )
    return line_chart(
        [series],
        frame=Frame(x=x, y=_from([series]), right=60),
        tips=[(d, f"depth {d}\n{percent(v, digits=1)} exact") for d, v in depths],
        label="Exact match by depth of dream",
    )
