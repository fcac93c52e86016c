import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.evaluation.intervals import Interval, bootstrap, paired_difference, student_t, wilson


def test_wilson_of_a_textbook_case() -> None:
    """15 of 20 at 95%: center (0.75 + z2/40) / (1 + z2/20), as by hand."""
    z = 1.959963984540054
    center = (0.75 + z**2 / 40) / (1 + z**2 / 20)
    reach = z / (1 + z**2 / 20) * math.sqrt(0.75 * 0.25 / 20 + z**2 / 1600)
    found = wilson(15, num=20)
    assert found.estimate == 0.75
    assert (found.low, found.high) == pytest.approx((center - reach, center + reach))


@given(st.integers(0, 500), st.integers(0, 500), st.floats(0.5, 0.999))
def test_wilson_stays_within_bounds_and_around_the_estimate(a: int, b: int, level: float) -> None:
    found = wilson(a, num=a + b, level=level)
    assert 0 <= found.low <= found.high <= 1
    if a + b:
        assert found.low <= found.estimate <= found.high
        mirrored = wilson(b, num=a + b, level=level)
        assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


@settings(max_examples=30)
@given(st.integers(0, 20), st.integers(1, 20))
def test_wilson_narrows_with_more_of_the_same(a: int, b: int) -> None:
    few, many = wilson(a, num=a + b), wilson(10 * a, num=10 * (a + b))
    assert many.high - many.low < few.high - few.low


def test_no_trials_mean_no_knowledge() -> None:
    found = wilson(0, num=0)
    assert (found.low, found.high) == (0, 1) and math.isnan(found.estimate)
    with pytest.raises(ValueError, match=r"successes must be in \[0, 3\], got 4"):
        wilson(4, num=3)


def test_student_t_of_five_seeds() -> None:
    """Mean 3, s = sqrt(2.5), t(4, .975) = 2.7764: reach 2.7764 * sqrt(2.5 / 5)."""
    found = student_t([1, 2, 3, 4, 5])
    assert found.estimate == 3
    assert found.high - 3 == pytest.approx(2.7764451 * math.sqrt(0.5))
    assert 3 - found.low == pytest.approx(found.high - 3)


def test_student_t_holds_its_level() -> None:
    """1000 samples of 5: the cover is binomial around 0.95 with sigma 0.007."""
    samples = np.random.default_rng(0).normal(loc=2.0, size=(1000, 5))
    covered = sum(i.low <= 2.0 <= i.high for i in (student_t(list(s)) for s in samples))
    assert 915 <= covered <= 985


def test_pairs_cancel_what_a_seed_does_to_both() -> None:
    control = [0.1, 0.5, 0.9]
    found = paired_difference(
        [c + d for c, d in zip(control, [0.1, 0.2, 0.3], strict=True)], control=control
    )
    assert found.estimate == pytest.approx(0.2)
    assert found.high - 0.2 == pytest.approx(4.3026527 * 0.1 / math.sqrt(3))
    with pytest.raises(ValueError, match="equal lengths"):
        paired_difference([1.0], control=[1.0, 2.0])


def test_bootstrap_is_seeded_and_within_the_values() -> None:
    values = [0.1, 0.4, 0.35, 0.8, 0.5]
    first = bootstrap(values, seed=1, num_resamples=500)
    assert first == bootstrap(values, seed=1, num_resamples=500)
    assert first != bootstrap(values, seed=2, num_resamples=500)
    assert min(values) <= first.low <= first.estimate <= first.high <= max(values)
    same = bootstrap([0.3, 0.3, 0.3], seed=0, num_resamples=100)
    assert (same.low, same.high) == pytest.approx((0.3, 0.3))


def test_bootstrap_takes_any_statistic() -> None:
    found = bootstrap(
        [1.0, 2.0, 9.0], seed=0, num_resamples=200, statistic=lambda v: float(np.median(v))
    )
    assert found.estimate == 2.0 and found.low >= 1.0 and found.high <= 9.0


def test_one_seed_has_no_interval() -> None:
    for method in (student_t, lambda values: bootstrap(values, seed=0)):
        with pytest.raises(ValueError, match="at least 2 values, got 1; run more seeds"):
            method([0.5])
        with pytest.raises(ValueError, match="finite"):
            method([0.5, math.nan])
    with pytest.raises(ValueError, match="level must be"):
        student_t([1, 2], level=95)


def test_overlap_is_symmetric_and_counts_touching() -> None:
    low, high = Interval(estimate=0.1, low=0, high=0.2), Interval(estimate=0.3, low=0.2, high=0.4)
    apart = Interval(estimate=0.9, low=0.8, high=1.0)
    assert low.overlaps(high) and high.overlaps(low)
    assert not apart.overlaps(high) and not high.overlaps(apart)
