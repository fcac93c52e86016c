"""A model's weights by name: those that are trained, those that travel, those on disk.

Of a model with an adapter all three are the adapter's; its base never moves.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Parameter
from transformers import PreTrainedModel

from dyna.training.lora import adapter_parameters, has_lora


def trainable(model: PreTrainedModel) -> dict[str, Parameter]:
    """By the model's own names."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def published_weights(model: PreTrainedModel) -> Mapping[str, Tensor]:
    """The live tensors that an engine needs: the adapter's, or all, under each of their names."""
    return adapter_parameters(model) or model.state_dict()


def distinct_weights(model: PreTrainedModel) -> Mapping[str, Tensor]:
    """As `published_weights`, each tied one once: what a file holds."""
    adapter = adapter_parameters(model)
    if adapter:
        return adapter
    named = [*model.named_parameters(), *model.named_buffers()]
    saved = model.state_dict().keys()
    return {name: tensor.detach() for name, tensor in named if name in saved}


def check_weights(model: PreTrainedModel, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Whether weights of these names and shapes are the model's, or its adapter's.

    A tied weight may come under any of its names. Raises `ValueError` naming the first difference.
    """
    own = published_weights(model)
    what, remedy = "weights", ""
    if has_lora(model):
        what = "adapter"
        remedy = "; it is of another base model, or of another model.lora"
    unknown = sorted(set(shapes) - set(own))
    if unknown:
        raise ValueError(f"{what} has names the model lacks, first of all {unknown[0]!r}{remedy}")
    given = {own[name].data_ptr() for name in shapes}
    missing = [name for name, tensor in own.items() if tensor.data_ptr() not in given]
    if missing:
        raise ValueError(f"{what} lacks {len(missing)} names, first of all {missing[0]!r}{remedy}")
    for name, shape in shapes.items():
        if tuple(shape) != tuple(own[name].shape):
            raise ValueError(
                f"{what}[{name!r}] must have shape {tuple(own[name].shape)}, "
                f"got {tuple(shape)}{remedy}"
            )


@torch.no_grad()
def put_weights(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into the model, in place: its adapter's where it has one, else all.

    Raises as `check_weights` does; nothing has changed then.
    """
    check_weights(model, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    own = published_weights(model)
    for name, tensor in weights.items():
        own[name].copy_(tensor)


@contextmanager
def swapped(
    parameters: Mapping[str, Parameter], *, others: Mapping[str, Tensor]
) -> Generator[None]:
    """Within it the parameters have the values of `others`, and those have theirs.

    Two weightings of one model for the memory of what is trained: a reference needs no model of
    its own. No graph may be alive that was recorded with the other values.
    """
    _swap(parameters, others=others)
    try:
        yield
    finally:
        _swap(parameters, others=others)


def _swap(parameters: Mapping[str, Parameter], *, others: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.data, others[name].data = others[name].data, parameter.data
