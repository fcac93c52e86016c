"""The sequential test: its false alarms stay below the stated level, and it sees what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.evaluation.sequential import gap_evidence
from dyna.seeding import generator

ALPHA = 0.05


def false_alarms(draws: np.ndarray, *, tolerance: float) -> int:
    """Of runs `[N, rounds, pairs]`, those that were ever refuted."""
    return sum(gap_evidence(run, tolerance=tolerance).refutes(ALPHA) for run in draws.tolist())


@pytest.mark.parametrize(
    ("odds", "tolerance"),
    [((0.3, 0.3, 0.4), 0.1), ((0.0, 0.9, 0.1), 0.1), ((0.25, 0.25, 0.5), 0.25)],
)
def test_at_the_worst_null_hypothesis_false_alarms_stay_below_the_level(
    odds: tuple[float, float, float], tolerance: float
) -> None:
    """A mean of exactly the tolerance, looked at after each of 120 pairs. Ville's inequality: 600
    runs give at most 30 false alarms on average; more than 50 come with odds below 1 in 5000."""
    rng = generator(0, "false alarms", str(odds))
    draws = rng.choice([-1.0, 0.0, 1.0], p=odds, size=(600, 15, 8))
    assert float(draws.mean()) == pytest.approx(tolerance, abs=0.02)
    assert false_alarms(draws, tolerance=tolerance) <= 50


def test_following_up_what_looks_bad_makes_no_false_alarms() -> None:
    """Rounds grow to four times their size where they look bad; the bound holds all the same."""
    rng = generator(1, "follow up")
    runs: list[list[list[float]]] = []
    for _ in range(400):
        run: list[list[float]] = []
        for _ in range(12):
            pairs = rng.choice([0.0, 1.0], p=(0.9, 0.1), size=8).tolist()
            while np.mean(pairs) > 0.1 and len(pairs) < 32:
                pairs += rng.choice([0.0, 1.0], p=(0.9, 0.1), size=8).tolist()
            run.append(pairs)
        runs.append(run)
    # On average at most 20 of 400; more than 38 come with odds below 1 in 10,000.
    assert sum(gap_evidence(run, tolerance=0.1).refutes(ALPHA) for run in runs) <= 38


@pytest.mark.parametrize("first_bad", [0, 10])
def test_a_model_that_is_exploited_is_found_however_late_it_begins(first_bad: int) -> None:
    """Every second dream is won and lost in the world: 64 pairs were enough in each of 50 runs."""
    rng = generator(2, "power", first_bad)
    good = [[0.0] * 8 for _ in range(first_bad)]
    found = [
        gap_evidence([*good, rng.choice([0.0, 1.0], size=64).tolist()], tolerance=0.1).refutes(0.01)
        for _ in range(50)
    ]
    assert all(found)


def test_evidence_of_a_worked_example() -> None:
    """One pair of difference 1 in round one: half the coin, raised by the mean of five stakes."""
    mean_stake = (0.1 + 0.3 + 0.5 + 0.7 + 0.95) / 5 / 0.55
    found = gap_evidence([[1.0]], tolerance=0.1)
    assert found.wealth == pytest.approx(0.5 + 0.5 * (1 + mean_stake * 0.45))
    assert (found.num_pairs, found.mean) == (1, 1.0)


def test_no_pairs_are_no_evidence() -> None:
    found = gap_evidence([[], []], tolerance=0.1)
    assert (found.wealth, found.peak, found.num_pairs) == (1.0, 1.0, 0)
    assert math.isnan(found.mean)


def test_what_crossed_the_bound_once_has_crossed_it() -> None:
    found = gap_evidence([[1.0] * 20 + [-1.0] * 40], tolerance=0.1)
    assert found.wealth < 1.0 < 1 / ALPHA < found.peak
    assert found.refutes(ALPHA)


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.floats(-1, 1), max_size=6), max_size=6),
    st.floats(0, 0.99),
)
def test_wealth_is_a_positive_number_and_falls_with_the_tolerance(
    rounds: list[list[float]], tolerance: float
) -> None:
    wealth = gap_evidence(rounds, tolerance=tolerance).wealth
    assert 0.0 < wealth < math.inf
    assert gap_evidence([[1.0] * 9], tolerance=tolerance).wealth <= (
        gap_evidence([[1.0] * 9], tolerance=0.0).wealth + 1e-9
    )


def test_endless_gain_stays_a_number() -> None:
    assert math.isfinite(gap_evidence([[1.0] * 5000], tolerance=0.0).wealth)


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, math.nan])
def test_a_tolerance_out_of_range_is_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance must be in"):
        gap_evidence([[0.0]], tolerance=tolerance)


def test_a_difference_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="paired difference"):
        gap_evidence([[1.5]], tolerance=0.1)
