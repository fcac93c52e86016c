"""Weights as bytes: what is unpacked is what was packed, and nothing travels twice."""

from __future__ import annotations

import pytest
import torch

from dyna.cluster.parcels import num_bytes, pack, unpack


def test_every_dtype_and_shape_comes_back_bit_by_bit() -> None:
    weights = {
        "matrix": torch.randn(3, 5),
        "half": torch.randn(7, 2).to(torch.bfloat16),
        "eighth": torch.randn(4).to(torch.float8_e4m3fn),
        "turned": torch.randn(4, 6).T,
        "number": torch.tensor(3),
        "nothing": torch.empty(0, 8),
        "learned": torch.nn.Parameter(torch.randn(2)),
    }
    found = unpack(pack(weights))
    assert found.keys() == weights.keys()
    for name, tensor in weights.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert not found[name].requires_grad
        same = torch.equal(found[name].float(), tensor.detach().float())
        assert same


def test_tied_tensors_travel_once() -> None:
    tensor = torch.randn(100, 10)
    parcel = pack({"embedding": tensor, "head": tensor.detach()})
    assert num_bytes(parcel) == tensor.nbytes
    assert torch.equal(unpack(parcel)["head"], tensor)


def test_a_view_is_not_taken_for_the_whole() -> None:
    tensor = torch.arange(12.0)
    found = unpack(pack({"whole": tensor, "first": tensor[:4], "square": tensor.view(3, 4)}))
    assert found["first"].tolist() == [0, 1, 2, 3]
    assert found["square"].shape == (3, 4)


def test_a_dtype_that_does_not_travel_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"weights\['wave'\].*complex64"):
        pack({"wave": torch.zeros(2, dtype=torch.complex64)})
