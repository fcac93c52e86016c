"""What the run spent: interactions, tokens, seconds, and where dreaming would pay.

A dream costs a fixed time; a real step costs what the world takes. The break-even line shows from
which real step time on the run's imagined steps were the faster ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.report.data import Run
from experiments.report.numbers import percent, seconds
from experiments.report.svg import (
    Axis,
    Bar,
    Frame,
    Point,
    Series,
    bar_chart,
    line_chart,
    linear_axis,
)

ACT, MODEL, IMAGINE = "act", "model", "imagine"
"""Phases that the break-even line speaks of: real play, model updates, dreams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Seconds of a real step at which dreaming and real play cost the same.

    Example: 40,000 imagined steps took 60 s, the model updates behind them 20 s: a dreamed step
    costs 1.5 ms alone and 2 ms with its model. A world that takes longer than that is worth it.
    """

    real: float | None
    """Seconds of one real step as played here, policy included; None if it was not measured."""
    dream: float
    """Seconds of one imagined step."""
    dream_with_model: float
    """The same with the model's updates shared out over all imagined steps."""


def phase_seconds(run: Run) -> dict[str, float]:
    """Seconds of each phase over the whole run, longest first. `time/` metrics are per round."""
    totals: dict[str, float] = {}
    for entry in run.rounds:
        for phase, value in entry.named("time/").items():
            totals[phase] = totals.get(phase, 0.0) + value
    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def break_even(run: Run) -> BreakEven | None:
    """None when the run dreamed nothing or did not time it."""
    steps, totals = run.latest("ledger/imagined_steps"), phase_seconds(run)
    if not steps or not totals.get(IMAGINE):
        return None
    real_steps = run.latest("ledger/real_steps")
    real = totals.get(ACT)
    return BreakEven(
        real=real / real_steps if real and real_steps else None,
        dream=totals[IMAGINE] / steps,
        dream_with_model=(totals[IMAGINE] + totals.get(MODEL, 0.0)) / steps,
    )


def phases_figure(run: Run) -> str:
    """Where the time went."""
    totals = phase_seconds(run)
    whole = sum(totals.values())
    if not whole:
        return ""
    axis = linear_axis(0, max(totals.values()), label="seconds", text=lambda v: f"{v:g}", num=4)
    bars = [
        Bar(
            label=phase.replace("_", " "),
            value=value,
            text=f"{seconds(value)}  {percent(value / whole)}",
            css="imagined" if phase == IMAGINE else "real" if phase == ACT else "model",
            tip=f"{phase}\n{seconds(value)}, {percent(value / whole)} of all measured time",
        )
        for phase, value in totals.items()
    ]
    return bar_chart(bars, axis=axis, label="Seconds by phase")


def break_even_figure(run: Run) -> str:
    """Seconds for the run's imagined steps, dreamed, and had they been real, by real step time."""
    cost, steps = break_even(run), run.latest("ledger/imagined_steps")
    if cost is None or not steps:
        return ""
    known = [cost.dream, cost.dream_with_model] + ([cost.real] if cost.real else [])
    x = _log_axis(min(known) / 8, max(known) * 30, label="seconds of one real step (log scale)")
    y = _log_axis(x.low * steps, x.high * steps, label="")
    frame = Frame(x=x, y=y, width=600, height=330, right=92)
    flat = cost.dream_with_model * steps
    series = [
        Series(
            label="dreamed",
            css="imagined",
            dashed=True,
            points=[Point(x=x.low, y=flat), Point(x=x.high, y=flat)],
        ),
        Series(
            label="played real",
            css="real",
            points=[Point(x=v, y=v * steps) for v in (x.low, x.high)],
        ),
    ]
    cross = frame.px(cost.dream_with_model)
    top, bottom = frame.py(y.high), frame.py(y.low)
    extra = f'<line class="held" x1="{cross:.1f}" x2="{cross:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    places = [10 ** (math.log10(x.low) + i * math.log10(x.high / x.low) / 24) for i in range(25)]
    tips = [
        (
            v,
            f"a real step of {seconds(v)}\nall played real {seconds(v * steps)}\n"
            f"all dreamed {seconds(flat)}",
        )
        for v in places
    ]
    return line_chart(
        series,
        frame=frame,
        tips=tips,
        extra=extra,
        label="Time for the run's imagined steps, dreamed or real, against seconds per real step",
    )


def break_even_sentence(run: Run) -> str:
    """The break-even line in words."""
    cost = break_even(run)
    if cost is None:
        return "This run dreamed nothing, or did not time it: there is no break-even line."
    said = (
        f"An imagined step took {seconds(cost.dream)}, {seconds(cost.dream_with_model)} with the "
        f"model's updates shared out. Dreaming saves time wherever a real step takes longer than "
        f"{seconds(cost.dream_with_model)}"
    )
    if cost.real is None:
        return f"{said}."
    saved = cost.real > cost.dream_with_model
    verdict = "so it saved time here" if saved else "so here it saved real steps, not time"
    return f"{said}; in this run one took {seconds(cost.real)}, policy included, {verdict}."


def _log_axis(low: float, high: float, *, label: str) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(1, (last - first) // 5)
    ticks = tuple(10.0**power for power in range(first, last + 1, step))
    return Axis(low=10.0**first, high=10.0**last, ticks=ticks, label=label, text=seconds, log=True)
