"""Weights to start from: random, but for an induction circuit in the first layers.

Copying from context takes two layers: heads that look back a fixed number of tokens, then heads
that compare what those saw (Olsson et al. 2022, arXiv:2209.11895). Left to chance the circuit forms
late, and not at all within the budget of a laptop; drawn in roughly, it is refined in seconds.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import Qwen2ForCausalLM

_SHARPNESS = 6.0
"""Size of the biases that point a head at its offset."""
_NUM_FREQUENCIES = 3
"""Rotary frequencies, the fastest ones, that carry the offset."""
_MATCH_GAIN = 3.0
_COMPARED = ((1, 1), (2, 2), (1, 2))
"""For each comparing head: the offset whose token it asks for, and the one it looks at."""


def draw_induction_circuit(model: Qwen2ForCausalLM, *, seed: int = 0) -> None:
    """Change the first three layers of `model` in place.

    Head h of layer 0 attends h + 1 tokens back and writes what it sees into a subspace of its own;
    the heads of layers 1 and 2 compare two such subspaces and copy the token they find. Raises
    `ValueError` for a model with fewer than three layers or grouped key-value heads.
    """
    config = model.config
    if config.num_hidden_layers < 3 or config.num_key_value_heads != config.num_attention_heads:
        raise ValueError(
            "an induction circuit needs >= 3 layers and as many key-value heads as heads, got "
            f"{config.num_hidden_layers} layers, {config.num_key_value_heads} key-value heads"
        )
    content, written = _subspaces(model, seed=seed)
    with torch.no_grad():
        _draw_offsets(model, content=content, written=written)
        for layer in (1, 2):
            _draw_comparison(model, layer=layer, content=content, written=written)


def _subspaces(model: Qwen2ForCausalLM, *, seed: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """A projection of tokens [D, H], and one subspace [H, D] for what each head of layer 0 saw."""
    size, dim = model.config.hidden_size, model.config.head_dim
    rng = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=rng))[0]
    other = torch.linalg.qr(torch.randn(size, size, generator=rng))[0]
    starts = [(head * dim) % size for head in range(model.config.num_attention_heads)]
    return basis[:dim], [other[:, start : start + dim] for start in starts]


def _draw_offsets(
    model: Qwen2ForCausalLM, *, content: torch.Tensor, written: list[torch.Tensor]
) -> None:
    attention: Any = model.model.layers[0].self_attn
    rope: Any = model.config.rope_parameters
    dim, theta = model.config.head_dim, rope["rope_theta"]
    attention.q_proj.bias.zero_()
    attention.k_proj.bias.zero_()
    for head, subspace in enumerate(written):
        rows = slice(head * dim, (head + 1) * dim)
        for index in range(_NUM_FREQUENCIES):
            angle = (head + 1) * theta ** (-index / (dim // 2))
            place = head * dim + index
            attention.q_proj.bias[place] = _SHARPNESS * math.cos(angle)
            attention.q_proj.bias[place + dim // 2] = -_SHARPNESS * math.sin(angle)
            attention.k_proj.bias[place] = _SHARPNESS
        # Content disturbs a head that should see only distance.
        attention.q_proj.weight[rows] *= 0.2
        attention.k_proj.weight[rows] *= 0.2
        attention.v_proj.weight[rows] = 0.5 * content
        attention.o_proj.weight[:, rows] = 0.2 * subspace


def _draw_comparison(
    model: Qwen2ForCausalLM, *, layer: int, content: torch.Tensor, written: list[torch.Tensor]
) -> None:
    attention: Any = model.model.layers[layer].self_attn
    dim = model.config.head_dim
    for head, (asked, looked_at) in enumerate(_COMPARED[: len(written)]):
        rows = slice(head * dim, (head + 1) * dim)
        attention.q_proj.weight[rows] = math.sqrt(_MATCH_GAIN) * written[asked - 1].T
        attention.k_proj.weight[rows] = math.sqrt(_MATCH_GAIN) * written[looked_at - 1].T
        attention.v_proj.weight[rows] = 0.5 * content
        attention.o_proj.weight[:, rows] = 0.2 * content.T
