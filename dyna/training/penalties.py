"""What pulls on the weights beside the loss, and needs no sample to do so.

A penalty gives its gradient, parameter by parameter; the trainer adds it just before each optimizer
step, before gradients are clipped. It is a plain object made of numbers and tensors: learners on
other machines are sent it and pull alike.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class Penalty(Protocol):
    def gradient(self, name: str, *, weight: Tensor) -> Tensor | None:
        """By one trained parameter, in its shape; None where the penalty says nothing of it.

        `name` is the model's own; `weight` is whole, in float32, and must not be changed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Quadratic:
    """`strength / 2 * sum of importance * (weight - anchor)^2`.

    Example: `Quadratic(strength=0.1, anchor={"lm_head.weight": old})` pulls one matrix back.
    """

    strength: float
    anchor: Mapping[str, Tensor]
    importance: Mapping[str, Tensor] | None = None
    """In the shapes of `anchor`; None weighs all alike."""

    def gradient(self, name: str, *, weight: Tensor) -> Tensor | None:
        anchor = self.anchor.get(name)
        if anchor is None:
            return None
        pull = self.strength * (weight - anchor.to(weight))
        return pull if self.importance is None else pull * self.importance[name].to(weight)

    def value(self, weights: Mapping[str, Tensor]) -> float:
        """What it costs at `weights`."""
        total = 0.0
        for name, tensor in weights.items():
            weight = tensor.detach().float()
            pull = self.gradient(name, weight=weight)
            if pull is not None:
                total += 0.5 * float((pull * (weight - self.anchor[name].to(weight))).sum())
        return total
