"""A model of which every peer of a process group holds a part (FSDP2), and its tensors' rows.

Weights are cut along their first dimension. A layer is whole only while it runs: it is gathered
before and let go after, on the way back too, so that a GPU holds its part and a layer or two. What
is trained is kept in float32 and gathered in the model's own type; gradients are summed, not
averaged, in float32.
"""

# torch leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from dyna.training.lora import adapter_parameters


def shard_model(model: PreTrainedModel, *, device: torch.device) -> None:
    """Leave this peer its part of the model, on `device`.

    A model without an adapter is trained whole, so its parts become float32. An adapter stays
    whole on every peer, and the frozen base is sharded in the type it has.
    """
    adapter = list(adapter_parameters(model).values())
    for parameter in adapter:
        parameter.data = parameter.data.to(device)
    policy = MixedPrecisionPolicy()
    if not adapter and model.dtype != torch.float32:
        policy = MixedPrecisionPolicy(param_dtype=model.dtype, reduce_dtype=torch.float32)
    settings: dict[str, Any] = {
        "mesh": init_device_mesh(device.type, (dist.get_world_size(),)),
        # The root too: after a pass of the reference its weights must be gathered again.
        "reshard_after_forward": True,
        "mp_policy": policy,
        "ignored_params": set(adapter),
    }
    layers = [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]
    for module in [*layers, model]:
        if not adapter:
            # Layer by layer, so that no more than one is ever held whole in float32.
            for parameter in module.parameters():
                if not isinstance(parameter, DTensor):
                    parameter.data = parameter.data.float()
        fully_shard(module, **settings)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            # Gloo knows no other reduction.
            module.set_force_sum_reduction_for_comms(True)


def local(tensor: Tensor) -> Tensor:
    """This peer's rows of a sharded tensor, sharing its memory; any other tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All rows of a sharded tensor, a collective of all peers; any other tensor itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def rows_of(tensor: Tensor) -> tuple[int, int] | None:
    """First row and the one after the last that this peer holds; None if it holds all."""
    if not isinstance(tensor, DTensor):
        return None
    rows = split_rows(tensor.shape[0], num_parts=dist.get_world_size())
    first = sum(rows[: dist.get_rank()])
    return first, first + rows[dist.get_rank()]


def split_rows(num_rows: int, *, num_parts: int) -> list[int]:
    """Rows of each part, as `torch.chunk` and FSDP2 cut: `split_rows(5, num_parts=4)` is
    [2, 2, 1, 0]."""
    size = -(-num_rows // num_parts)
    return [max(0, min(size, num_rows - part * size)) for part in range(num_parts)]


def gather(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The whole tensors, one at a time, to the first peer; the others help and get none."""
    for name, tensor in tensors.items():
        gathered = whole(tensor)
        if dist.get_rank() == 0:
            yield name, gathered.detach()


def total_norm(gradients: Sequence[Tensor]) -> Tensor:
    """Of all peers' gradients together."""
    norm = torch.nn.utils.get_total_norm(gradients)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
