"""Sketches of gradients: which way an episode pulls a language world model, in a few numbers.

The gradient of the loss on an episode is projected at random: each of its numbers is given a sign
by chance and added to one of the sketch's (Charikar et al. 2002's count sketch, the places dealt
out in turn). Inner products between sketches are right in the mean. The projection depends on the
names and shapes of the parameters alone, so sketches of all updates of all processes compare.
"""

# torch leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import Parameter, functional
from transformers import PreTrainedModel

from dyna.rendering import Renderer
from dyna.seeding import derive_seed
from dyna.training.losses import LossConfig, row_loss
from dyna.training.packing import StreamTotals, pack
from dyna.training.passes import one_pass
from dyna.training.weights import trainable
from dyna.types import TrainingSample, Trajectory

_MAX_COORDINATES = 2**14
"""Of a parameter; of a larger one so many are drawn, once and for all."""


def gradient_sketches(
    model: PreTrainedModel,
    renderer: Renderer,
    trajectories: Iterable[Trajectory],
    *,
    size: int,
    use_hidden_state: bool,
) -> dict[str, tuple[float, ...]]:
    """By trajectory id, `size` numbers; episodes that do not fit the context are left out.

    One forward and one backward pass for each. The gradients that parameters hold, and what an
    optimizer made of them, stay as they are.
    """
    parameters = trainable(model)
    projections = {
        name: _projection(name, numel=parameter.numel(), size=size)
        for name, parameter in parameters.items()
    }
    sketches: dict[str, tuple[float, ...]] = {}
    for trajectory in trajectories:
        sample = renderer.model_sample(trajectory, use_hidden_state=use_hidden_state)
        if sample is not None and any(sample.ce):
            total = torch.zeros(size)
            gradients = _gradients(model, parameters=parameters, sample=sample)
            for name, gradient in gradients.items():
                total += projections[name].of(gradient, size=size)
            sketches[trajectory.id] = tuple(total.tolist())
    return sketches


def _gradients(
    model: PreTrainedModel, *, parameters: Mapping[str, Parameter], sample: TrainingSample
) -> dict[str, Tensor]:
    bound = len(sample.token_ids)
    (row,) = pack([sample], max_tokens=bound, max_targets=bound, device=model.device)
    with one_pass(model, row=row):
        loss, _ = row_loss(model, row=row, totals=StreamTotals.of([sample]), config=LossConfig())
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {
        name: gradient
        for name, gradient in zip(parameters, found, strict=True)
        if gradient is not None
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Projection:
    places: Tensor | None  # [M] of the numbers that count; None for all
    signs: Tensor  # [M]
    scale: float
    """How many numbers each of them stands for, as a root."""

    def of(self, gradient: Tensor, *, size: int) -> Tensor:  # [size]
        flat = gradient.reshape(-1)
        if self.places is not None:
            flat = flat[self.places.to(flat.device)]
        signed = self.signs * flat.float().cpu() * self.scale
        return functional.pad(signed, (0, -len(signed) % size)).view(-1, size).sum(dim=0)


def _projection(name: str, *, numel: int, size: int) -> _Projection:
    rng = torch.Generator().manual_seed(derive_seed(0, "gradient sketch", name, numel, size))
    num = min(numel, _MAX_COORDINATES)
    return _Projection(
        places=None if num == numel else torch.randint(numel, (num,), generator=rng),
        signs=(2 * torch.randint(2, (num,), generator=rng) - 1).to(torch.int8),
        scale=(numel / num) ** 0.5,
    )


__all__ = ["gradient_sketches"]
