"""Figures of what the agent learned, over the real steps it was given.

Real and imagined success share one chart and one tooltip, always.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.report.data import Round, Run
from experiments.report.numbers import count, percent, points, rate_text
from experiments.report.svg import (
    Axis,
    Frame,
    Point,
    Series,
    line_chart,
    linear_axis,
    tight_axis,
    unit_axis,
)


def real_steps(entry: Round) -> float:
    """Where a round stands on the axis; its own number where the ledger is silent."""
    steps = entry.get("ledger/real_steps")
    return float(entry.index) if steps is None else steps


def steps_axis(rounds: Sequence[Round]) -> Axis:
    """Real steps spent, over what the rounds span: they begin where the agent begins."""
    places = [real_steps(entry) for entry in rounds]
    known = all(entry.get("ledger/real_steps") is not None for entry in rounds)
    label = "real steps spent" if known else "round"
    return tight_axis(min(places), max(places), label=label, text=_short)


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def success_figure(run: Run) -> str:
    """Success of the greedy policy on held-out tasks, real and imagined, with intervals."""
    rounds = run.evaluated()
    if not rounds:
        return ""
    real: list[Point] = []
    imagined: list[Point] = []
    tips: list[tuple[float, str]] = []
    for entry in rounds:
        pair = entry.paired("eval/real_success", "eval/imagined_success")
        if pair is None:
            continue
        x = real_steps(entry)
        real.append(Point(x=x, y=pair[0].rate, low=pair[0].low, high=pair[0].high))
        said = f"real {rate_text(pair[0])}"
        if pair[1] is not None:
            imagined.append(Point(x=x, y=pair[1].rate, low=pair[1].low, high=pair[1].high))
            said += f"\nimagined {rate_text(pair[1])}"
        tips.append((x, f"{where(entry)}\n{said}"))
    series = [Series(label="imagined", css="imagined", points=imagined, dashed=True)]
    series.append(Series(label="real", css="real", points=real, marker="square"))
    frame = Frame(x=steps_axis(rounds), y=unit_axis(), height=330)
    return line_chart(
        [entry for entry in series if entry.points],
        frame=frame,
        tips=tips,
        label="Success on held-out tasks against real steps: real, and imagined beside it",
    )


def where(entry: Round) -> str:
    """How a tooltip opens: `round 3, 2,112 real steps`."""
    steps = entry.get("ledger/real_steps")
    tail = "" if steps is None else f", {count(steps)} real steps"
    return f"round {entry.index}{tail}"


def gap_figure(run: Run) -> str:
    """Imagined minus real success: how far the world model flatters the policy."""
    rounds = [r for r in run.evaluated() if r.get("eval/exploitation_gap") is not None]
    if not rounds:
        return ""
    values = [r.metrics["eval/exploitation_gap"] for r in rounds]
    y = linear_axis(
        min(-0.1, *values),
        max(0.1, *values),
        label="",
        text=lambda v: f"{round(100 * v):+d}" if v else "0",
    )
    frame = Frame(x=steps_axis(rounds), y=y, width=440, height=330, right=24)
    zero = frame.py(0.0)
    left, right = frame.px(frame.x.low), frame.px(frame.x.high)
    extra = f'<line class="zero" x1="{left:.1f}" x2="{right:.1f}" y1="{zero:.1f}" y2="{zero:.1f}"/>'
    for entry, value in zip(rounds, values, strict=True):
        x = frame.px(real_steps(entry))
        extra += (
            f'<line class="stem gap" x1="{x:.1f}" x2="{x:.1f}" y1="{zero:.1f}" '
            f'y2="{frame.py(value):.1f}"/>'
        )
    dots = [Point(x=real_steps(r), y=v) for r, v in zip(rounds, values, strict=True)]
    tips = [
        (
            real_steps(r),
            f"{where(r)}\ngap {points(r.get('eval/exploitation_gap'))}\n"
            f"real {rate_text(r.rate('eval/real_success'))}\n"
            f"imagined {rate_text(r.rate('eval/imagined_success'))}",
        )
        for r in rounds
    ]
    return line_chart(
        [Series(label="", css="gap", points=dots, marker="diamond")],
        frame=frame,
        tips=tips,
        extra=extra,
        label="Exploitation gap, imagined minus real success, in percentage points",
    )


def practice_figure(run: Run) -> str:
    """Success of sampled episodes, real and dreamed; round 0 has experts and explorers only."""
    rounds = [r for r in run.rounds if r.index and r.get("real/success") is not None]
    if not rounds:
        return ""
    real = [Point(x=r.index, y=r.metrics["real/success"]) for r in rounds]
    imagined = [
        Point(x=r.index, y=r.metrics["imagined/success"])
        for r in rounds
        if r.get("imagined/success") is not None
    ]
    tips: list[tuple[float, str]] = []
    for entry in rounds:
        said = f"round {entry.index}\nreal episodes {rate_text(entry.rate('real/success'))}"
        if entry.get("imagined/success") is not None:
            said += f"\ndreams {rate_text(entry.rate('imagined/success'))}"
        tips.append((entry.index, said))
    series = [Series(label="dreams", css="imagined", points=imagined, dashed=True)]
    series.append(Series(label="real", css="real", points=real, marker="square"))
    return line_chart(
        [entry for entry in series if entry.points],
        frame=Frame(x=round_axis(rounds), y=unit_axis()),
        tips=tips,
        label="Success of sampled episodes in each round, real and imagined",
    )


def dreams_figure(run: Run) -> str:
    """What went wrong inside dreams: doubted, unreadable, or an action the model called invalid."""
    names = {
        "imagined/untrusted": ("untrusted", "model", "circle"),
        "imagined/unparseable": ("unreadable", "wrong", "diamond"),
        "imagined/invalid_actions": ("invalid", "gap", "square"),
    }
    rounds = [r for r in run.rounds if any(r.get(name) is not None for name in names)]
    if not rounds:
        return ""
    # Shares stay on a unit axis; a run whose tracker counts instead gets an axis of counts.
    highest = max(r.metrics.get(name, 0.0) for r in rounds for name in names)
    shares = highest <= 1.0
    top = max(highest, 0.05) if shares else highest
    text = percent if shares else count
    y = linear_axis(0, top, label="", text=lambda v: text(v), num=4)
    series = [
        Series(
            label=label,
            css=css,
            marker=shape,
            points=[Point(x=r.index, y=r.metrics[name]) for r in rounds if name in r.metrics],
        )
        for name, (label, css, shape) in names.items()
    ]
    tips = [
        (
            r.index,
            "\n".join(
                [f"round {r.index}"]
                + [f"{names[n][0]} {text(r.metrics[n])}" for n in names if n in r.metrics]
            ),
        )
        for r in rounds
    ]
    return line_chart(
        [entry for entry in series if entry.points],
        frame=Frame(x=round_axis(rounds), y=y, width=470, right=96),
        tips=tips,
        label="Untrusted and unreadable dreams, and invalid actions in them, by round",
    )


def round_axis(rounds: Sequence[Round]) -> Axis:
    """One tick per round, thinned when there are many."""
    first, last = rounds[0].index, rounds[-1].index
    step = max(1, -(-(last - first) // 8))
    ticks = tuple(float(i) for i in range(first, last + 1, step))
    high = float(last) if last > first else first + 1.0
    return Axis(low=first, high=high, ticks=ticks, label="round", text=lambda v: f"{v:g}")
