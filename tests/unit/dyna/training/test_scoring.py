"""Scores of sampled tokens, against one forward pass per sample."""

from __future__ import annotations

import random

import pytest
import torch

from dyna.testing import tiny_model
from dyna.training.scoring import score_actions
from dyna.types import TrainingSample

VOCAB = 37


def random_sample(rng: random.Random, *, length: int, share: float = 0.4) -> TrainingSample:
    mask = (0.0, *(float(rng.random() < share) for _ in range(length - 1)))
    return TrainingSample(
        token_ids=tuple(rng.randrange(VOCAB) for _ in range(length)),
        ce=(0.0, *(1.0 for _ in range(length - 1))),
        rl=mask,
        rl_mask=mask,
        old_log_probs=tuple(-value for value in mask),
    )


@pytest.mark.parametrize("max_tokens", [1, 30, 4096])
def test_scores_stand_where_the_mask_does_whatever_the_packing(max_tokens: int) -> None:
    rng = random.Random(3)
    samples = [random_sample(rng, length=length) for length in (9, 2, 17, 9, 30, 5)]
    samples.insert(2, random_sample(rng, length=6, share=0.0))
    model = tiny_model(VOCAB)
    scores = score_actions(model, samples, max_tokens=max_tokens)
    assert len(scores) == len(samples)
    for sample, values in zip(samples, scores, strict=True):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([sample.token_ids])).logits[0].float()
        naive = torch.log_softmax(logits, dim=-1)
        expected = [
            naive[place - 1, token].item() if sample.rl_mask[place] else 0.0
            for place, token in enumerate(sample.token_ids)
        ]
        assert values == pytest.approx(expected, abs=1e-5)


def test_scoring_leaves_no_gradient_and_nothing_to_score_costs_nothing() -> None:
    model = tiny_model(VOCAB)
    score_actions(model, [random_sample(random.Random(0), length=8)], max_tokens=64)
    assert all(p.grad is None for p in model.parameters())
    assert score_actions(model, [], max_tokens=64) == []
