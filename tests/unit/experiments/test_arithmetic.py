"""The arithmetic of shapes against real models of them, and against sums done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import Qwen2ForCausalLM

from experiments.arithmetic import (
    QWEN25_05B,
    QWEN25_7B,
    ModelShape,
    decode_step_s,
    read_s,
)
from experiments.gpu_check.subjects import qwen2_config

SMALL = ModelShape(
    num_layers=2,
    hidden=8,
    num_heads=2,
    num_kv_heads=1,
    head_size=4,
    intermediate=16,
    vocab=10,
)


@pytest.mark.parametrize(
    ("shape", "parameters"), [(QWEN25_05B, 494_032_768), (QWEN25_7B, 7_615_616_512)]
)
def test_parameters_are_those_of_a_real_model(shape: ModelShape, parameters: int) -> None:
    with torch.device("meta"):
        model = Qwen2ForCausalLM(qwen2_config(shape))
    assert shape.parameters == model.num_parameters() == parameters
    assert ModelShape.of(model.config.to_dict()) == shape


def test_a_small_shape_by_hand() -> None:
    # q, o: 8x8; k, v: 8x4; gate, up, down: 8x16; two layers
    assert SMALL.layer_matrices == 2 * (2 * 64 + 2 * 32 + 3 * 128)
    assert SMALL.head == 80
    assert SMALL.parameters == 1152 + 2 * 16 + 8 + 2 * 80
    assert replace(SMALL, is_tied=True).parameters == SMALL.parameters - 80
    assert replace(SMALL, has_qkv_bias=True).parameters == SMALL.parameters + 2 * 16
    assert SMALL.step_bytes == 2 * (1152 + 80)
    assert SMALL.kv_bytes_per_token == 2 * 2 * 2 * 4


def test_flops_by_hand() -> None:
    # three tokens after five: pairs 3*5 + 1+2+3; four FLOPs per pair, layer and channel
    attention = 4 * 2 * 8 * (15 + 6)
    assert SMALL.forward_flops(3, context=5) == 2 * (3 * 1152 + 80) + attention
    assert SMALL.training_flops(3, num_logits=2) == 3 * SMALL.forward_flops(3, num_logits=2)


def test_lora_by_hand() -> None:
    assert SMALL.lora_parameters(4, modules=["q_proj"]) == 2 * 4 * (8 + 8)
    everything = (8 + 8) + 2 * (8 + 4) + (8 + 8) + 3 * (8 + 16)
    assert SMALL.lora_parameters(4) == 2 * 4 * everything


def test_a_decoding_step_is_bound_by_what_is_slower() -> None:
    read = SMALL.step_bytes + 3 * 10 * SMALL.kv_bytes_per_token
    slow_memory = decode_step_s(SMALL, batch=3, context=10, bandwidth=100.0, flops=1e15)
    assert slow_memory == pytest.approx(read / 100.0)
    slow_matrices = decode_step_s(SMALL, batch=3, context=10, bandwidth=1e15, flops=100.0)
    assert slow_matrices == pytest.approx(3 * SMALL.forward_flops(1, context=10) / 100.0)
    assert read_s(SMALL, num_tokens=3, context=5, flops=100.0) == pytest.approx(
        SMALL.forward_flops(3, context=5) / 100.0
    )
