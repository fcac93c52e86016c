"""Returns and advantages against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.advantages import discounted_returns, gae, group_relative, is_constant, leave_one_out

numbers = st.lists(st.floats(-10, 10).map(lambda x: round(x, 4)), min_size=1, max_size=12)
fractions = st.floats(0, 1)


@given(rewards=numbers, gamma=fractions)
def test_discounted_returns(rewards: list[float], gamma: float) -> None:
    powers = gamma ** np.arange(len(rewards))
    expected = [np.dot(rewards[t:], powers[: len(rewards) - t]) for t in range(len(rewards))]
    assert discounted_returns(rewards, gamma=gamma) == pytest.approx(expected, abs=1e-9)


@given(returns=numbers)
def test_leave_one_out(returns: list[float]) -> None:
    values = np.array(returns)
    if len(values) == 1:
        expected = np.zeros(1)
    else:
        expected = np.array([v - np.delete(values, i).mean() for i, v in enumerate(values)])
    advantages = leave_one_out(returns)
    assert advantages == pytest.approx(expected, abs=1e-9)
    assert sum(advantages) == pytest.approx(0.0, abs=1e-9)


@given(returns=numbers)
def test_group_relative(returns: list[float]) -> None:
    values = np.array(returns)
    centered = group_relative(returns, normalize_std=False)
    assert centered == pytest.approx(values - values.mean(), abs=1e-8)
    scaled = group_relative(returns, normalize_std=True)
    if is_constant(returns):
        assert scaled == [0.0] * len(returns)
    else:
        assert scaled == pytest.approx((values - values.mean()) / values.std(), abs=1e-6)


@given(rewards=numbers, gamma=fractions, lam=fractions, seed=st.integers(0, 99))
def test_gae(rewards: list[float], gamma: float, lam: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=len(rewards))
    following = np.append(values[1:], 0.0)
    deltas = np.array(rewards) + gamma * following - values
    expected = [
        sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, len(deltas)))
        for t in range(len(deltas))
    ]
    advantages = gae(rewards, values=list(values), gamma=gamma, lam=lam)
    assert advantages == pytest.approx(expected, abs=1e-9)


def test_gae_with_lambda_one_is_the_return_minus_the_value() -> None:
    rewards, values = [0.0, 0.5, 1.0], [0.3, 0.3, 0.3]
    returns = discounted_returns(rewards, gamma=0.9)
    expected = [g - v for g, v in zip(returns, values, strict=True)]
    assert gae(rewards, values=values, gamma=0.9, lam=1.0) == pytest.approx(expected)


def test_no_returns_no_advantages() -> None:
    assert discounted_returns([], gamma=1.0) == []
    assert leave_one_out([]) == []
    assert group_relative([], normalize_std=True) == []
    assert gae([], values=[], gamma=1.0, lam=1.0) == []
