"""Who forgot: shares that add up, and intervals over seeds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyna.evaluation.attribution import Attribution, attribute, figures_over_seeds

RATE = st.floats(0, 1)


def test_a_worked_example() -> None:
    found = Attribution(learned=0.9, real=0.5, model=0.7, oracle=0.8)
    assert found.forgotten == pytest.approx(0.4)
    assert found.policy_share == pytest.approx(0.1)
    assert found.model_share == pytest.approx(0.3)
    assert found.exploitation_gap == pytest.approx(0.2)


@given(RATE, RATE, RATE, RATE)
def test_the_shares_add_up_to_what_was_forgotten(
    learned: float, real: float, model: float, oracle: float
) -> None:
    found = Attribution(learned=learned, real=real, model=model, oracle=oracle)
    assert found.policy_share + found.model_share == pytest.approx(found.forgotten)


def test_what_was_not_measured_is_not_filled_in() -> None:
    found = attribute(learned={"a": 0.5, "b": 0.5}, real={"a": 0.5}, model={}, oracle={"a": 0.4})
    assert found["a"].policy_share == pytest.approx(0.1)
    assert math.isnan(found["a"].exploitation_gap)
    assert math.isnan(found["b"].forgotten)


def test_a_rate_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="got 50 of 'a'"):
        attribute(learned={"a": 50}, real={}, model={}, oracle={})


def test_intervals_are_over_seeds() -> None:
    seeds = [
        {
            name: Attribution(learned=0.9, real=0.6 + spread, model=0.7, oracle=0.8)
            for name in ("a", "b")
        }
        for spread in (-0.1, 0.0, 0.1)
    ]
    found = figures_over_seeds(seeds)
    assert found["real"].estimate == pytest.approx(0.6)
    assert found["policy_share"].low == pytest.approx(found["policy_share"].high)
    assert found["model_share"].low < 0.2 < found["model_share"].high


def test_a_seed_without_a_figure_is_told() -> None:
    lacking = {"a": Attribution(learned=0.9, real=0.6, model=math.nan, oracle=0.8)}
    with pytest.raises(ValueError, match="seed 0 has no figure 'model'"):
        figures_over_seeds([lacking, lacking])
