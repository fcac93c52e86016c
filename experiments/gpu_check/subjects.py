"""What the checks are done on: models with random weights, made on the device, and its own rates.

Bandwidth and matrix rate are measured, not taken from a data sheet: the clocks, the power limit and
who else uses the device are part of both sides of a ratio then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from dyna.samples import byte_tokenizer
from experiments.arithmetic import QWEN25_05B, QWEN25_7B, ModelShape

SEED = 11
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Size(StrEnum):
    FULL = "full"
    """The 0.5B and the 7B shape, on a GPU."""
    TINY = "tiny"
    """Two small shapes in their places, so that every path runs on a CPU in seconds."""


_TINY = ModelShape(
    num_layers=2,
    hidden=64,
    num_heads=2,
    num_kv_heads=1,
    head_size=32,
    intermediate=128,
    vocab=512,
    is_tied=True,
    has_qkv_bias=True,
)
_TINY_UNTIED = ModelShape(
    num_layers=3,
    hidden=96,
    num_heads=3,
    num_kv_heads=1,
    head_size=32,
    intermediate=256,
    vocab=512,
    has_qkv_bias=True,
)
SHAPES = {
    Size.FULL: {"0.5b": QWEN25_05B, "7b": QWEN25_7B},
    Size.TINY: {"0.5b": _TINY, "7b": _TINY_UNTIED},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and how large."""

    device: torch.device
    size: Size

    @property
    def is_tiny(self) -> bool:
        return self.size is Size.TINY

    def shape(self, model: str) -> ModelShape:
        return SHAPES[self.size][model]


def make_model(
    shape: ModelShape, *, device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> PreTrainedModel:
    """A Qwen2 of that shape with random weights, drawn where it runs."""
    torch.manual_seed(SEED)
    with _made_in(device, dtype=dtype):
        model = Qwen2ForCausalLM(qwen2_config(shape, dtype=dtype))
    return model.eval()


def qwen2_config(shape: ModelShape, *, dtype: torch.dtype = torch.bfloat16) -> Qwen2Config:
    """The settings of a Qwen2 of that shape."""
    return Qwen2Config(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_kv_heads,
        tie_word_embeddings=shape.is_tied,
        max_position_embeddings=8192,
        dtype=dtype,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )


def save_folder(shape: ModelShape, *, bench: Bench, folder: Path, dtype: str) -> None:
    """The same model as a folder, with a tokenizer, for engines that load weights themselves."""
    make_model(shape, device=bench.device, dtype=DTYPES[dtype]).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)


@contextmanager
def _made_in(device: torch.device, *, dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], Any], *, device: torch.device, repeats: int = 3) -> float:
    """The shortest of `repeats` runs after one that warms up."""
    best = float("inf")
    for attempt in range(repeats + 1):
        synchronize(device)
        began = time.perf_counter()
        run()
        synchronize(device)
        if attempt:
            best = min(best, time.perf_counter() - began)
    return best


def memory_bandwidth(bench: Bench) -> float:
    """Bytes per second, read and written, of a copy within the device's memory."""
    num_bytes = 2**24 if bench.is_tiny else 2**32
    source = torch.zeros(num_bytes, dtype=torch.uint8, device=bench.device)
    target = torch.empty_like(source)
    return 2 * num_bytes / seconds(lambda: target.copy_(source), device=bench.device)


def matrix_rate(bench: Bench) -> float:
    """FLOPs per second of a large bf16 product of random matrices."""
    side = 256 if bench.is_tiny else 8192
    torch.manual_seed(SEED)
    with _made_in(bench.device, dtype=torch.bfloat16):
        a, b = torch.randn(side, side), torch.randn(side, side)
    return 2 * side**3 / seconds(lambda: a @ b, device=bench.device, repeats=10)
