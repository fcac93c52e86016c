"""The diagonal of the Fisher information of what a model says, by the parameters it trains.

Per token, `E[(d log p(y) / d w)^2]`, with y drawn by the model itself at every place of an episode
(given the true text before it): the places are then independent, so that the square of an episode's
summed gradient is, in the mean, the sum of the squares of its tokens, for one backward pass.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dyna.training.losses import target_distribution
from dyna.training.packing import num_trained_tokens, pack
from dyna.training.passes import one_pass
from dyna.training.weights import trainable
from dyna.types import TrainingSample


class Labels(StrEnum):
    """What a place of the text is taken to say."""

    MODEL = "model"
    """A draw from the model: the Fisher information."""
    TRUE = "true"
    """What stands there: the empirical Fisher, which is near zero where the model fits its data."""


def diagonal_fisher(
    model: PreTrainedModel, samples: Sequence[TrainingSample], *, labels: Labels, seed: int
) -> dict[str, Tensor]:
    """By parameter, float32, the mean over all tokens that the samples train by cross entropy.

    The parameters' own gradients are left alone. Raises `ValueError` without such a token.
    """
    parameters = trainable(model)
    sums = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    rng = torch.Generator().manual_seed(seed)
    num_tokens = 0
    for sample in samples:
        length = num_trained_tokens(sample)
        rows = pack([sample], max_tokens=length, max_targets=length, device=model.device)
        for row in rows:
            num_tokens += row.targets.numel()
            with one_pass(model, row=row), torch.enable_grad():
                log_probs = target_distribution(model, row=row)  # [S, V]
                said = row.targets if labels is Labels.TRUE else _draw(log_probs, rng=rng)
                likelihood = log_probs.gather(1, said[:, None]).sum()
                gradients = torch.autograd.grad(
                    likelihood, list(parameters.values()), allow_unused=True
                )
            for total, gradient in zip(sums.values(), gradients, strict=True):
                if gradient is not None:
                    total += gradient.float().square()
    if not num_tokens:
        raise ValueError(f"none of {len(samples)} samples has a token to learn, so no Fisher")
    return {name: total / num_tokens for name, total in sums.items()}


def _draw(log_probs: Tensor, *, rng: torch.Generator) -> Tensor:  # [S, V] -> [S]
    """On the CPU, so that any device draws alike."""
    probabilities = log_probs.detach().float().exp().cpu()
    return torch.multinomial(probabilities, 1, generator=rng)[:, 0].to(log_probs.device)
