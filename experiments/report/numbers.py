"""Numbers as people read them, the same on the page, in the final table and in the study."""

from __future__ import annotations

from experiments.report.data import Rate


def percent(value: float, *, digits: int = 0) -> str:
    """`percent(0.984, digits=1)` is `98.4%`."""
    return f"{100 * value:.{digits}f}%"


def rate_text(rate: Rate | None, *, digits: int = 0) -> str:
    """`62% [49, 73]`; without an interval `62%`; unknown is `n/a`."""
    if rate is None:
        return "n/a"
    text = percent(rate.rate, digits=digits)
    if rate.low is not None and rate.high is not None:
        text += f" [{100 * rate.low:.{digits}f}, {100 * rate.high:.{digits}f}]"
    return text


def points(value: float | None) -> str:
    """A difference of two shares, in percentage points, with its sign: `+9 pts`."""
    if value is None:
        return "n/a"
    return f"{round(100 * value):+d} pts"


def count(value: float | None) -> str:
    """`12,345`; from a million on `4.21M`."""
    if value is None:
        return "n/a"
    if abs(value) >= 1e6:
        return f"{value / 1e6:.2f}M"
    return f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """From microseconds to hours: `340 us`, `8.2 ms`, `12.3 s`, `4 min 05 s`, `1 h 02 min`."""
    if value is None:
        return "n/a"
    if value == 0:
        return "0 s"
    if value < 1e-3:
        return f"{1e6 * value:.3g} us"
    if value < 1:
        return f"{1e3 * value:.3g} ms"
    if value < 59.5:
        return f"{value:.3g} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
