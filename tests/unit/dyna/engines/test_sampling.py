"""Sampling: the right distribution, and a row's own randomness."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dyna.engines.sampling import sample, uniforms

NUM_DRAWS = 20_000


def _draws(num: int = NUM_DRAWS) -> np.ndarray:
    return uniforms(np.arange(num, dtype=np.uint64), positions=np.zeros(num, dtype=np.int64))


def test_uniforms_are_uniform_over_seeds_and_over_positions() -> None:
    positions = np.arange(NUM_DRAWS)
    one_seed = uniforms(np.full(NUM_DRAWS, 5, dtype=np.uint64), positions=positions)
    for numbers in (_draws(), one_seed):
        counts = np.histogram(numbers, bins=50, range=(0, 1))[0]
        chi_square = ((counts - NUM_DRAWS / 50) ** 2 / (NUM_DRAWS / 50)).sum()
        assert chi_square < 85.4  # 49 degrees of freedom: exceeded once in 1000 by chance
        assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.025


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_tokens_follow_the_softmax_at_the_given_temperature(temperature: float) -> None:
    logits = torch.randn(12, generator=torch.Generator().manual_seed(0)) * 2
    tokens, log_probs = sample(
        logits.expand(NUM_DRAWS, -1),
        temperatures=np.full(NUM_DRAWS, temperature, dtype=np.float32),
        draws=_draws(),
    )
    expected = (logits / temperature).softmax(-1).numpy() * NUM_DRAWS
    counts = np.bincount(tokens, minlength=12)
    assert ((counts - expected) ** 2 / expected).sum() < 31.3  # 11 degrees of freedom, 1 in 1000
    np.testing.assert_allclose(log_probs, logits.log_softmax(-1).numpy()[tokens], atol=1e-6)


def test_a_token_of_probability_zero_is_never_sampled() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(4, -1)
    tokens, _ = sample(
        logits,
        temperatures=np.ones(4, dtype=np.float32),
        draws=np.array([0.0, 0.499, 0.5, 1 - 2.0**-53]),
    )
    assert tokens.tolist() == [1, 1, 3, 3]


def test_a_tiny_temperature_is_greedy() -> None:
    logits = torch.tensor([[0.0, 5.0, 4.0]])
    tokens, _ = sample(logits, temperatures=np.array([1e-6], dtype=np.float32), draws=_draws(1))
    assert tokens.tolist() == [1]


def test_a_constraint_limits_one_row_and_leaves_its_log_probs_as_the_model_s() -> None:
    logits = torch.tensor([[0.0, 5.0, 4.0, 1.0]] * 2)
    tokens, log_probs = sample(
        logits,
        temperatures=np.zeros(2, dtype=np.float32),
        draws=np.zeros(2),
        allowed=[(1, [0, 3])],
    )
    assert tokens.tolist() == [1, 3]
    np.testing.assert_allclose(log_probs, logits[0].log_softmax(-1)[[1, 3]].numpy(), atol=1e-6)
