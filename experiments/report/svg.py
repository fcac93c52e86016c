"""The few chart forms of the report, as SVG text.

Colors are classes (`real`, `imagined`, `model`, ...), given their values by the page's style sheet,
so one drawing serves light and dark. Every mark carries a `<title>` with its values: a tooltip
without a script, and what a screen reader says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from experiments.report.numbers import percent

_TOP, _BOTTOM = 16.0, 42.0
_LABEL_GAP = 15.0
"""Least distance between two labels at the ends of lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A scale with its ticks; values outside are drawn at its edge."""

    low: float
    high: float
    ticks: tuple[float, ...]
    label: str
    text: Callable[[float], str]
    log: bool = False

    def at(self, value: float) -> float:
        """Where `value` lies, 0 at the low end and 1 at the high end."""
        low, high = self.low, self.high
        if self.log:
            low, high = math.log(low), math.log(high)
            value = math.log(max(value, self.low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    label: str
    css: str
    points: Sequence[Point]
    dashed: bool = False
    marker: str = "circle"
    """`circle`, `square` or `diamond`, told apart without color; `none` for a bare line."""
    band: bool = True
    """Draw the interval as a band; else as whiskers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    label: str
    value: float
    text: str
    """Written at the bar's end."""
    css: str
    tip: str
    low: float | None = None
    high: float | None = None
    gap_before: bool = False
    """Set apart from the bar above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The plotting area of a chart with two axes."""

    x: Axis
    y: Axis
    width: float = 520.0
    height: float = 300.0
    left: float = 50.0
    right: float = 84.0

    def px(self, value: float) -> float:
        return self.left + self.x.at(value) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        return self.height - _BOTTOM - self.y.at(value) * (self.height - _TOP - _BOTTOM)

    def axes(self) -> str:
        left, right = self.left, self.width - self.right
        bottom = self.height - _BOTTOM
        parts: list[str] = []
        for tick in self.y.ticks:
            y = self.py(tick)
            parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(text(self.y.text(tick), x=left - 8, y=y + 4, css="tick", anchor="end"))
        for tick in self.x.ticks:
            x = self.px(tick)
            parts.append(
                f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            )
            parts.append(text(self.x.text(tick), x=x, y=bottom + 18, css="tick", anchor="middle"))
        parts.append(f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        middle = (left + right) / 2
        parts.append(text(self.x.label, x=middle, y=self.height - 6, css="label", anchor="middle"))
        return "".join(parts)


_FEET = ((0.96, 0.01), (0.9, 0.02), (0.8, 0.05), (0.7, 0.1), (0.5, 0.1), (0.0, 0.25))
"""Where the axis of a share may begin, and how far apart its ticks then are."""


def unit_axis(label: str = "", *, lowest: float = 0.0) -> Axis:
    """A share up to 100%, from as high a round foot as `lowest` lets it; the ticks tell."""
    low, step = next((foot, step) for foot, step in _FEET if lowest >= foot or foot == 0.0)
    ticks = tuple(low + step * i for i in range(round((1 - low) / step) + 1))
    return Axis(low=low, high=1, ticks=ticks, label=label, text=lambda v: percent(v))


def linear_axis(
    low: float, high: float, *, label: str, text: Callable[[float], str], num: int = 5
) -> Axis:
    """An axis that begins and ends on round ticks around [low, high]."""
    step = _step(low, high, num=num)
    high = max(high, low + step)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    ticks = tuple(i * step for i in range(first, last + 1))
    return Axis(low=ticks[0], high=ticks[-1], ticks=ticks, label=label, text=text)


def tight_axis(
    low: float, high: float, *, label: str, text: Callable[[float], str], num: int = 6
) -> Axis:
    """An axis with a little air around [low, high], its round ticks inside."""
    step = _step(low, high, num=num)
    air = 0.03 * (high - low) or step / 2
    low, high = low - air, high + air
    ticks = tuple(i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1))
    return Axis(low=low, high=high, ticks=ticks, label=label, text=text)


def _step(low: float, high: float, *, num: int) -> float:
    """The round distance that puts about `num` ticks in [low, high]."""
    raw = ((high - low) or max(abs(high), 1.0)) / num
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)


def text(content: str, *, x: float, y: float, css: str, anchor: str = "start") -> str:
    return (
        f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def tip(content: str) -> str:
    return f"<title>{escape(content)}</title>"


def wrap(body: str, *, width: float, height: float, label: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'style="max-width:{1.2 * width:g}px">{body}</svg>'
    )


def line_chart(
    series: Sequence[Series],
    *,
    frame: Frame,
    label: str,
    tips: Sequence[tuple[float, str]] = (),
    extra: str = "",
) -> str:
    """Lines with intervals, named at their ends.

    Args:
        tips: for an x, what hovering anywhere above it says. One text for all series, so that
            values that belong together are read together.
        extra: more SVG, drawn below the lines.
    """
    parts = [frame.axes(), extra]
    parts += [_interval(entry, frame=frame) for entry in series]
    parts += [_line(entry, frame=frame) for entry in series]
    parts.append(_end_labels(series, frame=frame))
    parts.append(_hover(tips, frame=frame))
    return wrap("".join(parts), width=frame.width, height=frame.height, label=label)


def _interval(series: Series, *, frame: Frame) -> str:
    spans = [
        (frame.px(p.x), frame.py(p.low), frame.py(p.high))
        for p in series.points
        if p.low is not None and p.high is not None
    ]
    if series.band and len(spans) > 1:
        outline = [(x, high) for x, _, high in spans] + [(x, low) for x, low, _ in spans[::-1]]
        shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in outline)
        return f'<polygon class="band {series.css}" points="{shape}"/>'
    return "".join(
        f'<line class="whisker {series.css}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" '
        f'y2="{high:.1f}"/>'
        for x, low, high in spans
    )


def _line(series: Series, *, frame: Frame) -> str:
    places = [(frame.px(p.x), frame.py(p.y)) for p in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashed = " dashed" if series.dashed else ""
    marks = ""
    if series.marker != "none":
        marks = "".join(marker(x, y, shape=series.marker, css=series.css) for x, y in places)
    return f'<polyline class="line {series.css}{dashed}" points="{path}"/>{marks}'


def marker(x: float, y: float, *, shape: str, css: str, title: str = "") -> str:
    said = tip(title) if title else ""
    if shape == "square":
        return (
            f'<rect class="mark {css}" x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7">'
            f"{said}</rect>"
        )
    if shape == "diamond":
        path = f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"
        return f'<path class="mark {css}" d="{path}">{said}</path>'
    return f'<circle class="mark {css}" cx="{x:.1f}" cy="{y:.1f}" r="4">{said}</circle>'


def _end_labels(series: Sequence[Series], *, frame: Frame) -> str:
    """Names at the right ends of lines, pushed apart where they would overlap."""
    ends = sorted(
        ((frame.py(s.points[-1].y) + 4, s) for s in series if s.points), key=lambda pair: pair[0]
    )
    ys: list[float] = []
    for y, _ in ends:
        ys.append(max(y, ys[-1] + _LABEL_GAP) if ys else y)
    overflow = ys[-1] - (frame.height - _BOTTOM) if ys else 0.0
    shift = max(0.0, overflow)
    x = frame.width - frame.right + 10
    return "".join(
        text(entry.label, x=x, y=y - shift, css=f"name {entry.css}")
        for y, (_, entry) in zip(ys, ends, strict=True)
    )


def _hover(tips: Sequence[tuple[float, str]], *, frame: Frame) -> str:
    """Invisible columns, one per x, each reaching halfway to its neighbors."""
    places = [frame.px(x) for x, _ in tips]
    top, height = _TOP, frame.height - _TOP - _BOTTOM
    parts: list[str] = []
    for i, (x, said) in enumerate(zip(places, (t for _, t in tips), strict=True)):
        left = (places[i - 1] + x) / 2 if i else x - 14
        right = (places[i + 1] + x) / 2 if i + 1 < len(places) else x + 14
        parts.append(
            f'<g class="hover" tabindex="0"><rect x="{left:.1f}" y="{top:.1f}" '
            f'width="{max(right - left, 1):.1f}" height="{height:.1f}"/><line x1="{x:.1f}" '
            f'x2="{x:.1f}" y1="{top:.1f}" y2="{top + height:.1f}"/>{tip(said)}</g>'
        )
    return "".join(parts)


def bar_chart(
    bars: Sequence[Bar],
    *,
    axis: Axis,
    label: str,
    label_width: float = 120.0,
    dots: bool = False,
) -> str:
    """Horizontal bars with whiskers and their values beside them.

    Args:
        dots: mark values by dots instead: right wherever the axis does not begin at 0, because
            the length of a bar would lie there.
    """
    width, row, y = 520.0, 30.0, 6.0
    span = width - label_width - 134.0
    frame = _Rows(left=label_width, span=span, axis=axis)
    parts: list[str] = []
    for bar in bars:
        y += 12 if bar.gap_before else 0
        middle = y + row / 2
        parts.append(
            f'<g class="hover" tabindex="0"><rect x="0" y="{y:.1f}" width="{width:g}" '
            f'height="{row:g}"/>{tip(bar.tip)}'
        )
        parts.append(text(bar.label, x=label_width - 10, y=middle + 4, css="tick", anchor="end"))
        parts.append(frame.dot(bar, y=middle) if dots else frame.bar(bar, y=middle))
        parts.append(text(bar.text, x=label_width + span + 10, y=middle + 4, css="value") + "</g>")
        y += row
    for tick in axis.ticks:
        x = frame.at(tick)
        parts.insert(0, f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{y + 2:.1f}"/>')
        parts.append(text(axis.text(tick), x=x, y=y + 18, css="tick", anchor="middle"))
    if axis.label:
        middle = label_width + span / 2
        parts.append(text(axis.label, x=middle, y=y + 38, css="label", anchor="middle"))
    height = y + (46 if axis.label else 26)
    return wrap("".join(parts), width=width, height=height, label=label)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The plotting area of a bar chart."""

    left: float
    span: float
    axis: Axis

    def at(self, value: float) -> float:
        return self.left + self.span * self.axis.at(value)

    def bar(self, bar: Bar, *, y: float) -> str:
        return (
            f'<rect class="track" x="{self.left:g}" y="{y - 7:.1f}" width="{self.span:g}" '
            f'height="14" rx="2"/><rect class="bar {bar.css}" x="{self.left:g}" '
            f'y="{y - 7:.1f}" width="{self.at(bar.value) - self.left:.1f}" height="14" rx="2"/>'
            + self.whisker(bar, y=y, css="ink")
        )

    def dot(self, bar: Bar, *, y: float) -> str:
        x = self.at(bar.value)
        shape = "diamond" if bar.css == "gap" else "circle"
        return self.whisker(bar, y=y, css=bar.css) + marker(x, y, shape=shape, css=bar.css)

    def whisker(self, bar: Bar, *, y: float, css: str) -> str:
        if bar.low is None or bar.high is None:
            return ""
        low, high = self.at(bar.low), self.at(bar.high)
        return (
            f'<line class="whisker {css}" x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" '
            f'y2="{y:.1f}"/>'
        )
