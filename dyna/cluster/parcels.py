"""Tensors for Ray's object store, in a form that readers need not copy, in any dtype.

Ray copies a torch tensor at both ends and knows no bfloat16; plain bytes it maps into each reader's
memory. Tied tensors travel once.
"""

# pyright: reportUnknownMemberType=false
from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_DTYPES = {
    str(dtype): dtype
    for dtype in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
        *(torch.float8_e4m3fn, torch.float8_e5m2),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One tensor's bytes."""

    content: NDArray[np.uint8]  # [bytes]
    dtype: str
    shape: tuple[int, ...]


Parcel: TypeAlias = dict[str, Piece]


def pack(weights: Mapping[str, Any]) -> Parcel:
    """The tensors' bytes by name, brought to this machine's memory, not copied within it.

    Raises `ValueError` for a dtype that does not travel.
    """
    seen: dict[tuple[object, ...], Piece] = {}
    return {name: _piece(tensor, name=name, seen=seen) for name, tensor in weights.items()}


def unpack(parcel: Parcel) -> dict[str, Tensor]:
    """The tensors, to be read and never written: others read the same memory."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return {name: _tensor(piece) for name, piece in parcel.items()}


def num_bytes(parcel: Parcel) -> int:
    """What travels."""
    return sum({id(piece): piece.content.nbytes for piece in parcel.values()}.values())


def _piece(tensor: Tensor, *, name: str, seen: dict[tuple[object, ...], Piece]) -> Piece:
    key = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.device)
    if key not in seen or not tensor.numel():
        if str(tensor.dtype) not in _DTYPES:
            raise ValueError(f"weights[{name!r}] has dtype {tensor.dtype}, which does not travel")
        flat = tensor.detach().to("cpu").contiguous().reshape(-1)
        seen[key] = Piece(
            content=flat.view(torch.uint8).numpy(),
            dtype=str(tensor.dtype),
            shape=tuple(tensor.shape),
        )
    return seen[key]


def _tensor(piece: Piece) -> Tensor:
    dtype = _DTYPES[piece.dtype]
    if not piece.content.size:
        return torch.empty(piece.shape, dtype=dtype)
    return torch.from_numpy(piece.content).view(dtype).reshape(piece.shape)
