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
from dyna.training.sharding import local, rows_of
from dyna.training.tensor_files import TensorFiles


def trainable(model: PreTrainedModel) -> dict[str, Parameter]:
    """By the model's own names."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def published_weights(model: PreTrainedModel) -> Mapping[str, Tensor]:
    """The live tensors that an engine needs: the adapter's, or all, under each of their names.

    A tied weight is one tensor under two names.
    """
    adapter = adapter_parameters(model)
    if adapter:
        return adapter
    named: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    named |= dict(model.named_buffers(remove_duplicate=False))
    return {name: named[name] for name in model.state_dict()}


def distinct_weights(model: PreTrainedModel) -> Mapping[str, Tensor]:
    """As `published_weights`, each tied one once: what a file holds."""
    first_names: dict[int, str] = {}
    own = published_weights(model)
    for name, tensor in own.items():
        first_names.setdefault(id(tensor), name)
    return {name: own[name] for name in first_names.values()}


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
    given = {id(own[name]) for name in shapes}
    missing = [name for name, tensor in own.items() if id(tensor) not in given]
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
        rows = rows_of(own[name])
        local(own[name]).copy_(tensor if rows is None else tensor[rows[0] : rows[1]])


def read_like(own: Tensor, *, files: TensorFiles, name: str) -> Tensor:
    """The rows of a saved tensor that `own` holds."""
    rows = rows_of(own)
    return files.read(name) if rows is None else files.read(name, start=rows[0], stop=rows[1])


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


@torch.no_grad()
def move_toward(
    parameters: Mapping[str, Parameter], *, moved: Mapping[str, Tensor], rate: float
) -> None:
    """Let `moved` follow the parameters by an exponential moving average, `rate` a step.

    Raises `ValueError` for a rate outside [0, 1], and for weights in less than float32: the small
    steps of an average would be rounded away.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"policy_learner.slow_copy must be in [0, 1], got {rate}")
    for name, parameter in parameters.items():
        copy = moved[name]
        if copy.dtype != torch.float32:
            raise ValueError(
                f"policy_learner.slow_copy averages float32 weights, but {name!r} is {copy.dtype}; "
                "set policy.model.dtype=float32, or slow_copy=0 for a reference that stays"
            )
        local(copy).lerp_(local(parameter), rate)


@torch.no_grad()
def _swap(parameters: Mapping[str, Parameter], *, others: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        mine, other = local(parameter), local(others[name])
        if mine is parameter:
            parameter.data, other.data = other.data, parameter.data
        else:  # FSDP2 holds on to the memory of its rows
            held = mine.clone()
            mine.copy_(other)
            other.copy_(held)
