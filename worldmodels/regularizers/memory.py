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


def write_groups(path: Path, *, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Named groups of named tensors, none of whose names has a `/`, as one file."""
    tensors = {f"{group}/{name}": t for group, inner in groups.items() for name, t in inner.items()}
    write_tensors(path, tensors=tensors)


def read_groups(path: Path) -> dict[str, Tensors]:
    """Raises `ValueError` naming the file when it is missing or damaged."""
    groups: dict[str, Tensors] = {}
    for key, tensor in TensorFiles(path.parent, path.stem).read_all().items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = tensor
    return groups


__all__ = [
    "Tensors",
    "bytes_of",
    "num_bytes",
    "read_groups",
    "trained_copies",
    "write_groups",
]
