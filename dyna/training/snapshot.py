"""A moment of a trainer, held in memory: what an update that fails its test goes back to."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dyna.training.optimizer import MasterAdamW
from dyna.training.sharding import local
from dyna.training.weights import trainable


class Snapshot:
    """Copies of this peer's rows of the trained weights and of the optimizer's state."""

    def __init__(self, model: PreTrainedModel, *, optimizer: MasterAdamW, version: int) -> None:
        self.version = version
        self._weights = _copied(dict(trainable(model)))
        self._state = _copied(optimizer.state())

    @torch.no_grad()
    def put_back(self, model: PreTrainedModel, *, optimizer: MasterAdamW) -> None:
        """Equal to the last bit; gradients that were added up are dropped."""
        for name, parameter in trainable(model).items():
            local(parameter).copy_(self._weights[name])
        optimizer.load_state(self._state.items())
        optimizer.zero_grad()


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: local(tensor).detach().clone() for name, tensor in tensors.items()}


__all__ = ["Snapshot"]
