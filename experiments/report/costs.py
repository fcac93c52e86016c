"""What the run spent: interactions, tokens, seconds, and where dreaming would pay.

A dream costs a fixed time; a real step costs what the world takes. The break-even line shows from
which real step time on the run's imagined steps were the faster ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dyna.ledger import ACT, IMAGINE, MODEL
from experiments.report.data import Round, Run
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
    text,
)

_DURATIONS = (
    *((10.0**power, f"{10 ** (power + 6)} us") for power in (-6, -5, -4)),
    *((10.0**power, f"{10 ** (power + 3)} ms") for power in (-3, -2, -1)),
    (1.0, "1 s"),
    (10.0, "10 s"),
    (60.0, "1 min"),
    (600.0, "10 min"),
    (3600.0, "1 h"),
    (36e3, "10 h"),
    (864e3, "10 d"),
    (864e4, "100 d"),
)
"""Seconds at which a logarithmic axis of time has its ticks, about a factor of ten apart."""


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
    """Seconds of each phase over the whole run, longest first."""
    newest = run.latest_named("time/")
    totals = {} if newest is None else _phases(newest)
    return dict(sorted(totals.items(), key=lambda pair: -pair[1]))


def seconds_so_far(entry: Round) -> float | None:
    """Seconds of all phases from the start of the run to the end of this round."""
    return sum(_phases(entry).values()) or None


def _phases(entry: Round) -> dict[str, float]:
    """The ledger writes `time/<phase>_s`, summed over the rounds so far."""
    named = entry.named("time/").items()
    return {name.removesuffix("_s"): value for name, value in named if name.endswith("_s")}


def break_even(run: Run) -> BreakEven | None:
    """None when the run dreamed nothing or did not time it."""
    steps, totals = run.latest("ledger/imagined_steps"), phase_seconds(run)
    if not steps or not totals.get(IMAGINE):
        return None
    return BreakEven(
        real=run.latest("time/real_s_per_step"),
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
            text=f"{seconds(value)}, {percent(value / whole)}",
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
    even = cost.dream_with_model
    known = [even] + ([cost.real] if cost.real else [])
    x = _duration_axis(min(known) / 8, max(known) * 30, label="time of one real step, log scale")
    y = _duration_axis(x.low * steps, x.high * steps, label="")
    frame = Frame(x=x, y=y, left=58, right=92)
    flat = even * steps
    series = [
        Series(
            label="dreamed",
            css="imagined",
            dashed=True,
            marker="none",
            points=[Point(x=x.low, y=flat), Point(x=x.high, y=flat)],
        ),
        Series(
            label="played real",
            css="real",
            marker="none",
            points=[Point(x=v, y=v * steps) for v in (x.low, x.high)],
        ),
    ]
    extra = _guide(even, said=f"break-even {seconds(even)}", frame=frame, y=28)
    if cost.real:
        extra += _guide(cost.real, said=f"this run {seconds(cost.real)}", frame=frame, y=246)
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


def _guide(x: float, *, said: str, frame: Frame, y: float) -> str:
    """A dotted upright at `x` with its name beside it."""
    place = frame.px(x)
    top, bottom = frame.py(frame.y.high), frame.py(frame.y.low)
    line = (
        f'<line class="held" x1="{place:.1f}" x2="{place:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
    )
    return line + text(said, x=place + 6, y=y, css="tick")


def _duration_axis(low: float, high: float, *, label: str) -> Axis:
    """Reaches from tick to tick around [low, high]; beyond the known ticks it stops short."""
    below = [i for i, (value, _) in enumerate(_DURATIONS) if value <= low]
    above = [i for i, (value, _) in enumerate(_DURATIONS) if value >= high]
    first = below[-1] if below else 0
    last = max(above[0] if above else len(_DURATIONS) - 1, first + 1)
    names = dict(_DURATIONS[first : last + 1])
    ticks = tuple(names)
    return Axis(
        low=ticks[0], high=ticks[-1], ticks=ticks, label=label, text=names.__getitem__, log=True
    )
