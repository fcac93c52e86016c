import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyna.evaluation.calibration import (
    CoverageRisk,
    ReliabilityBin,
    area_under_risk,
    coverage_risk_curve,
    expected_calibration_error,
    reliability_bins,
    selective_fidelity,
)

pairs = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30)


def test_curve_of_four_predictions_with_a_tie() -> None:
    curve = coverage_risk_curve([0.5, 0.9, 0.5, 0.2], correct=[True, True, False, False])
    assert curve == [
        CoverageRisk(threshold=0.9, coverage=0.25, risk=0.0),
        CoverageRisk(threshold=0.5, coverage=0.75, risk=1 / 3),
        CoverageRisk(threshold=0.2, coverage=1.0, risk=0.5),
    ]
    assert area_under_risk([0.5, 0.9, 0.5, 0.2], correct=[True, True, False, False]) == (
        pytest.approx(0.5 / 3 + 0.25 * 0.5)
    )


def test_selective_fidelity_is_accuracy_on_the_most_confident() -> None:
    confidences, correct = [0.9, 0.8, 0.3, 0.1], [True, True, False, True]
    assert selective_fidelity(confidences, correct=correct, coverage=0.5) == 1.0
    assert selective_fidelity(confidences, correct=correct, coverage=0.6) == pytest.approx(2 / 3)
    assert selective_fidelity(confidences, correct=correct, coverage=1.0) == 0.75
    assert math.isnan(selective_fidelity([], correct=[], coverage=0.5))
    with pytest.raises(ValueError, match=r"coverage must be in \(0, 1\], got 0"):
        selective_fidelity(confidences, correct=correct, coverage=0)


@given(pairs, st.randoms(use_true_random=False))
def test_the_curve_ends_at_plain_accuracy_whatever_the_order(
    scored: list[tuple[float, bool]], shuffler: random.Random
) -> None:
    curve = coverage_risk_curve([c for c, _ in scored], correct=[r for _, r in scored])
    assert curve[-1].coverage == 1
    assert 1 - curve[-1].risk == pytest.approx(sum(r for _, r in scored) / len(scored))
    coverages = [point.coverage for point in curve]
    assert coverages == sorted(set(coverages))
    shuffler.shuffle(scored)
    assert curve == coverage_risk_curve([c for c, _ in scored], correct=[r for _, r in scored])


def test_ece_of_two_bins_by_hand() -> None:
    """(0.9, 0.9 | 1, 0) is off by |1.8 - 1|, (0.2 | 0) by 0.2; a third of the sum."""
    ece = expected_calibration_error([0.9, 0.9, 0.2], correct=[True, False, False], num_bins=2)
    assert ece == pytest.approx((0.8 + 0.2) / 3)


def test_reliability_bins_by_hand() -> None:
    bins = reliability_bins([1.0, 0.0, 0.75, 0.1], correct=[True, False, False, False], num_bins=4)
    assert bins == [
        ReliabilityBin(confidence=0.05, accuracy=0.0, num=2),
        ReliabilityBin(confidence=0.75, accuracy=0.0, num=1),
        ReliabilityBin(confidence=1.0, accuracy=1.0, num=1),
    ]


def test_ece_bins_are_closed_above() -> None:
    apart = expected_calibration_error([0.5, 0.6], correct=[False, True], num_bins=2)
    assert apart == pytest.approx((0.5 + 0.4) / 2)


@given(pairs, st.integers(1, 20))
def test_ece_is_a_share_and_zero_for_a_knowing_model(
    scored: list[tuple[float, bool]], num_bins: int
) -> None:
    correct = [r for _, r in scored]
    ece = expected_calibration_error([c for c, _ in scored], correct=correct, num_bins=num_bins)
    assert 0 <= ece <= 1
    sure = [float(r) for r in correct]
    if num_bins > 1:
        assert expected_calibration_error(sure, correct=correct, num_bins=num_bins) == 0


def test_senseless_confidences_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        coverage_risk_curve([math.nan], correct=[True])
    with pytest.raises(ValueError, match=r"got 1\.5"):
        expected_calibration_error([1.5], correct=[True])
    with pytest.raises(ValueError, match="2 confidences for 1 outcomes"):
        area_under_risk([0.1, 0.2], correct=[True])
    assert math.isnan(expected_calibration_error([], correct=[]))
