"""What a regularizer keeps of the past: tensors by name, on disk and in bytes."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel

from dyna.training.tensor_files import TensorFiles, write_tensors
from dyna.training.weights import trainable

Tensors = dict[str, Tensor]


def trained_copies(model: PreTrainedModel) -> Tensors:
    """Of what is trained, by the model's own names, in its own precision."""
    return {name: weight.detach().clone() for name, weight in trainable(model).items()}


def bytes_of(model: PreTrainedModel) -> int:
    """Of what is trained."""
    return num_bytes(trainable(model))


def num_bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def write_groups(folder: str, *, name: str, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Groups of named tensors as one file; empty ones leave no trace."""
    tensors = {f"{group}/{key}": t for group, inner in groups.items() for key, t in inner.items()}
    write_tensors(Path(folder) / f"{name}.safetensors", tensors=tensors)


def read_groups(folder: str, *, name: str) -> dict[str, Tensors]:
    """Raises `ValueError` naming the file when it is missing or damaged."""
    groups: dict[str, Tensors] = {}
    for key, tensor in TensorFiles(Path(folder), name).read_all().items():
        group, _, inner = key.partition("/")
        groups.setdefault(group, {})[inner] = tensor
    return groups


__all__ = [
    "Tensors",
    "bytes_of",
    "num_bytes",
    "read_groups",
    "trained_copies",
    "write_groups",
]
