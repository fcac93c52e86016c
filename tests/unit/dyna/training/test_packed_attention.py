"""Attention over a row of several samples is that of a block-diagonal, causal mask."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dyna.training.packing import attend_at_once, attend_by_sample

LENGTHS = (5, 1, 12, 7)


def inputs(
    *, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of 4 heads, keys and values of 2."""
    source = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, heads, sum(LENGTHS), 32, generator=source).to(device, dtype)
        for heads in (4, 2, 2)
    )
    return query, key, value


def masked(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    sample = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))
    place = torch.arange(sum(LENGTHS))
    mask = (sample[:, None] == sample) & (place[:, None] >= place)
    attended = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask.to(query.device), scale=0.2, enable_gqa=True
    )
    return attended.transpose(1, 2)


def gradients(attended: Tensor, *, of: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1, 1, attended.numel(), device=attended.device)
    return torch.autograd.grad((attended.float().flatten() * weights).sum(), of)


def test_sample_by_sample_is_what_a_block_diagonal_mask_gives() -> None:
    tensors = tuple(tensor.requires_grad_() for tensor in inputs())
    expected = masked(*tensors)
    found = attend_by_sample(*tensors, lengths=LENGTHS, scaling=0.2)
    torch.testing.assert_close(found, expected)
    for mine, theirs in zip(
        gradients(found, of=tensors), gradients(expected, of=tensors), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-4)


def test_the_kernel_for_the_whole_row_is_asked_in_its_own_layout() -> None:
    """On tensors without memory: what the kernel computes takes a GPU, below."""
    tensors = inputs(device="meta", dtype=torch.bfloat16)
    found = attend_at_once(*tensors, lengths=LENGTHS, scaling=0.2)
    assert found.shape == (1, sum(LENGTHS), 4, 32)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_at_once_is_sample_by_sample_on_a_gpu() -> None:
    tensors = tuple(t.requires_grad_() for t in inputs(device="cuda", dtype=torch.bfloat16))
    expected = attend_by_sample(*tensors, lengths=LENGTHS, scaling=0.2)
    found = attend_at_once(*tensors, lengths=LENGTHS, scaling=0.2)
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=2e-2)
    for mine, theirs in zip(
        gradients(found, of=tensors), gradients(expected, of=tensors), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=5e-2, rtol=5e-2)
