"""What a language model costs, from its shape alone: parameters, bytes, FLOPs, time by roofline.

A decoding step reads every weight and every cached token once, so memory bandwidth bounds it;
reading a prompt and training multiply matrices, so the matrix rate does. All sizes are bytes, all
times seconds, all rates per second. Standard library only: a plan needs no model in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BF16 = 2
"""Bytes of a number."""
TRAINING_PASSES = 3
"""Forward once, backward twice as much; 4 where activations are computed again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A decoder of the Llama family: grouped attention, gated MLP, RMS norms.

    Example: `ModelShape.of(model.config.to_dict())`
    """

    num_layers: int
    hidden: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    intermediate: int
    vocab: int
    is_tied: bool = False
    """One matrix embeds tokens and gives the logits."""
    has_qkv_bias: bool = False
    """As Qwen2 has."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ModelShape:
        """From the fields of a Hugging Face `config.json`. Raises `KeyError` for one it lacks."""
        heads = int(config["num_attention_heads"])
        return cls(
            num_layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            num_heads=heads,
            num_kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or config["hidden_size"] // heads),
            intermediate=int(config["intermediate_size"]),
            vocab=int(config["vocab_size"]),
            is_tied=bool(config.get("tie_word_embeddings", False)),
            has_qkv_bias=config["model_type"] == "qwen2",
        )

    @property
    def linear_sizes(self) -> dict[str, tuple[int, int]]:
        """(in, out) of the linear layers of one decoder layer, by the last part of their names."""
        queries, keys = self.num_heads * self.head_size, self.num_kv_heads * self.head_size
        return {
            "q_proj": (self.hidden, queries),
            "k_proj": (self.hidden, keys),
            "v_proj": (self.hidden, keys),
            "o_proj": (queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def layer_matrices(self) -> int:
        """Parameters in the matrices of all layers: what every token is multiplied with."""
        return self.num_layers * sum(a * b for a, b in self.linear_sizes.values())

    @property
    def head(self) -> int:
        """Parameters of the matrix that gives logits."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        biases = (self.num_heads + 2 * self.num_kv_heads) * self.head_size * self.has_qkv_bias
        norms = self.num_layers * (2 * self.hidden + biases) + self.hidden
        return self.layer_matrices + norms + self.head * (1 if self.is_tied else 2)

    @property
    def weight_bytes(self) -> int:
        return BF16 * self.parameters

    @property
    def step_bytes(self) -> int:
        """Weights that a decoding step reads: all but the embedding, of which it takes few rows."""
        return BF16 * (self.layer_matrices + self.head)

    @property
    def kv_bytes_per_token(self) -> int:
        return BF16 * 2 * self.num_layers * self.num_kv_heads * self.head_size

    def forward_flops(self, num_tokens: int, *, context: int = 0, num_logits: int = 1) -> int:
        """Of reading `num_tokens` after `context` others, with logits for `num_logits` of them."""
        pairs = num_tokens * context + num_tokens * (num_tokens + 1) // 2
        attention = 4 * self.num_layers * self.num_heads * self.head_size * pairs
        return 2 * (num_tokens * self.layer_matrices + num_logits * self.head) + attention

    def training_flops(
        self, num_tokens: int, *, num_logits: int, passes: int = TRAINING_PASSES
    ) -> int:
        """Of one sample, forward and backward."""
        return passes * self.forward_flops(num_tokens, num_logits=num_logits)

    def lora_parameters(self, rank: int, *, modules: Sequence[str] = ()) -> int:
        """Of the adapters on `modules`; of all linear layers where none are named."""
        sizes = [self.linear_sizes[name] for name in modules or self.linear_sizes]
        return self.num_layers * rank * sum(a + b for a, b in sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The makers' figures for one GPU; what is reached of them is stated beside every use."""

    name: str
    memory: float
    bandwidth: float
    """Of its own memory."""
    bf16_flops: float
    """Dense."""
    link: float
    """Of NVLink to the GPUs of its own node, in one direction."""
    network: float
    """Its share of the node's network cards, in one direction."""


A100 = Gpu(
    name="A100 80GB", memory=80e9, bandwidth=2.039e12, bf16_flops=312e12, link=300e9, network=25e9
)
H100 = Gpu(name="H100", memory=80e9, bandwidth=3.35e12, bf16_flops=989e12, link=450e9, network=50e9)
H200 = Gpu(name="H200", memory=141e9, bandwidth=4.8e12, bf16_flops=989e12, link=450e9, network=50e9)
GPUS = (A100, H100, H200)

QWEN25_05B = ModelShape(
    num_layers=24,
    hidden=896,
    num_heads=14,
    num_kv_heads=2,
    head_size=64,
    intermediate=4864,
    vocab=151_936,
    is_tied=True,
    has_qkv_bias=True,
)
QWEN25_7B = ModelShape(
    num_layers=28,
    hidden=3584,
    num_heads=28,
    num_kv_heads=4,
    head_size=128,
    intermediate=18_944,
    vocab=152_064,
    has_qkv_bias=True,
)


def decode_step_s(
    shape: ModelShape, *, batch: int, context: float, bandwidth: float, flops: float
) -> float:
    """The shortest time in which each of `batch` conversations gets one token.

    `context` is their mean length; `bandwidth` and `flops` are what the device really reaches.
    """
    read = shape.step_bytes + batch * context * shape.kv_bytes_per_token
    computed = batch * shape.forward_flops(1, context=int(context))
    return max(read / bandwidth, computed / flops)


def read_s(shape: ModelShape, *, num_tokens: int, context: int, flops: float) -> float:
    """The shortest time to read `num_tokens` of one prompt after `context` cached ones."""
    return shape.forward_flops(num_tokens, context=context) / flops


__all__ = [
    "A100",
    "BF16",
    "GPUS",
    "H100",
    "H200",
    "QWEN25_05B",
    "QWEN25_7B",
    "TRAINING_PASSES",
    "Gpu",
    "ModelShape",
    "decode_step_s",
    "read_s",
]
