"""How sure a figure is: intervals for proportions, for means over seeds, for paired differences.

Episodes of one trained agent share its luck in training, so claims about a METHOD take one number
per seed; Wilson's interval speaks of one agent on many tasks.
"""

# scipy carries no types: what it returns is unknown to the checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from dyna.seeding import generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the bounds around it."""

    estimate: float
    low: float
    high: float
    level: float = 0.95
    """The share of such intervals that contain the truth."""

    def overlaps(self, other: Interval) -> bool:
        return self.low <= other.high and other.low <= self.high


def wilson(num_successes: int, *, num: int, level: float = 0.95) -> Interval:
    """For a proportion: stays in [0, 1], and holds for few trials and rates near 0 or 1.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference" (JASA 1927).
    Without observations nothing is known: the estimate is NaN, the interval [0, 1].
    """
    _check_level(level)
    if not 0 <= num_successes <= num:
        raise ValueError(f"successes must be in [0, {num}], got {num_successes}")
    if num == 0:
        return Interval(estimate=math.nan, low=0.0, high=1.0, level=level)
    ci = stats.binomtest(num_successes, num).proportion_ci(level, method="wilson")
    # Rounding may put a bound a hair past the estimate at 0 or 1.
    estimate = num_successes / num
    low, high = min(float(ci.low), estimate), max(float(ci.high), estimate)
    return Interval(estimate=estimate, low=max(low, 0.0), high=min(high, 1.0), level=level)


def student_t(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """For the mean of independent runs, one value per seed (Student 1908).

    Raises `ValueError` for fewer than two values: one run has no spread.
    """
    _check_level(level)
    _check_several(values)
    center = math.fsum(values) / len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stats.t.ppf((1 + level) / 2, df=len(values) - 1)) * error
    return Interval(estimate=center, low=center - reach, high=center + reach, level=level)


def paired_difference(
    treated: Sequence[float], *, control: Sequence[float], level: float = 0.95
) -> Interval:
    """For the mean of `treated[i] - control[i]`, pairs that share a seed; Student's t on them.

    What a seed makes easy for both cancels, so it is narrower than two separate intervals.
    """
    if len(treated) != len(control):
        raise ValueError(f"pairs need equal lengths, got {len(treated)} and {len(control)}")
    return student_t([t - c for t, c in zip(treated, control, strict=True)], level=level)


def bootstrap(
    values: Sequence[float],
    *,
    seed: int,
    statistic: Callable[[np.ndarray], float] | None = None,
    level: float = 0.95,
    num_resamples: int = 10_000,
) -> Interval:
    """Percentile bootstrap over seeds (Efron 1979); the mean, or any statistic of `[N]` values.

    The same `seed` gives the same interval. With few values it is narrower than it should be:
    prefer `student_t` for means of fewer than ten.
    """
    _check_level(level)
    _check_several(values)
    chosen = statistic if statistic is not None else _mean
    sample = np.asarray(values, dtype=float)
    result = stats.bootstrap(
        (sample,),
        chosen,
        n_resamples=num_resamples,
        confidence_level=level,
        method="percentile",
        vectorized=False,
        rng=generator(seed, "bootstrap"),
    )
    ci = result.confidence_interval
    return Interval(
        estimate=float(chosen(sample)), low=float(ci.low), high=float(ci.high), level=level
    )


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")


def _check_several(values: Sequence[float]) -> None:
    if len(values) < 2:
        raise ValueError(
            f"an interval over seeds needs at least 2 values, got {len(values)}; run more seeds"
        )
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"an interval needs finite values, got {list(values)}")
