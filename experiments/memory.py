"""Bytes of a model that learns and of one that generates, from its shape and settings alone.

Parameters, gradients, moments and caches are counts. Activations are a sum over what autograd keeps
in a layer of transformers' Qwen2 and Llama. The tests hold all of it against torch's own figures.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dyna.config import EngineConfig, ModelConfig, OptimizerConfig
from dyna.files import DamagedFileError
from experiments.arithmetic import ModelShape

_FLOAT32 = 4
_MAX_LOGITS = 2**26
"""Numbers in the largest logit matrix of several samples, as `dyna.training.trainer` bounds it."""
_LOGIT_COPIES = 4
"""Float32 matrices `[S, V]` alive at once: logits, their log-softmax, and the gradients of both."""


def shape_of(config: ModelConfig) -> ModelShape:
    """From the model's `config.json` alone; `tiny` is taken to be as large as `base`."""
    from transformers import AutoConfig

    from dyna.training.models import BASE_MODEL, TINY_MODEL, resolve_model_path

    path = resolve_model_path(BASE_MODEL if config.path == TINY_MODEL else config.path)
    if path.startswith((".", "/", "~")) and not (Path(path) / "config.json").is_file():
        raise DamagedFileError(f"model folder {path!r} has no config.json: it is no model")
    found: dict[str, Any] = AutoConfig.from_pretrained(path).to_dict()
    try:
        return ModelShape.of(found)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the shape of {config.path!r} ({found.get('model_type')}) is not known: {error}; "
            "estimates are of decoders with grouped attention and a gated MLP"
        ) from error


def num_bytes(config: ModelConfig) -> int:
    """Of one number of the model's weights."""
    return 2 if config.dtype == "bfloat16" else _FLOAT32


def learner_bytes(
    shape: ModelShape,
    *,
    model: ModelConfig,
    optimizer: OptimizerConfig,
    num_shards: int = 1,
    has_reference: bool = False,
) -> dict[str, int]:
    """What a learner holds of one model, activations of its largest pass included."""
    size, whole = num_bytes(model), shape.parameters
    rank = model.lora.rank
    trained = shape.lora_parameters(rank, modules=model.lora.target_modules) if rank else whole
    shards = 1 if rank else num_shards
    held: dict[str, int] = {}
    if num_shards > 1 and not rank:
        held["weights (float32)"] = _FLOAT32 * whole // num_shards
    else:
        held["weights"] = size * (whole // num_shards + (trained if rank else 0))
        if size < _FLOAT32:
            held["masters (float32)"] = _FLOAT32 * trained
    held["gradients (float32)"] = _FLOAT32 * trained // shards
    held["moments of AdamW"] = 2 * _FLOAT32 * trained // shards
    if has_reference:
        held["reference for the KL"] = (_FLOAT32 if shards > 1 else size) * trained // shards
    if num_shards > 1:
        # The next layer is gathered while one runs; the root's group holds both embeddings.
        layer = shape.layer_matrices // shape.num_layers
        root = shape.head * (1 if shape.is_tied else 2)
        one = size + (0 if rank else size + _FLOAT32)  # weights, gradients and their float32 sum
        held["gathered layers"] = one * (2 * layer + root)
    held["activations"] = activation_bytes(shape, model=model, optimizer=optimizer)
    held["logits"] = logit_bytes(shape, model=model, optimizer=optimizer)
    return held


def activation_bytes(shape: ModelShape, *, model: ModelConfig, optimizer: OptimizerConfig) -> int:
    """What autograd keeps of a pass of the most tokens until its backward pass."""
    tokens = max(optimizer.tokens_per_pass, model.max_context)
    size = num_bytes(model)
    layer = layer_activation_bytes(shape, size=size, trains_all=not model.lora.rank)
    if optimizer.gradient_checkpointing:
        return tokens * (shape.num_layers * size * shape.hidden + layer)
    return tokens * shape.num_layers * layer


def layer_activation_bytes(shape: ModelShape, *, size: int, trains_all: bool) -> int:
    """Of one token in one layer, as transformers' Qwen2 and Llama layers compute it."""
    queries = shape.num_heads * shape.head_size
    keys = shape.num_kv_heads * shape.head_size
    # A norm keeps its input in float32 and, where its weight is trained, what it multiplies; the
    # matrices after it keep its output.
    norm = _FLOAT32 * shape.hidden + size * shape.hidden * (2 if trains_all else 1)
    # Rotated queries and keys, values, and what attention gives, with its own copy of it.
    attention = size * (3 * queries + 2 * keys)
    # Gate, its activation, up, and their product.
    mlp = 4 * size * shape.intermediate
    return 2 * norm + attention + mlp


def logit_bytes(shape: ModelShape, *, model: ModelConfig, optimizer: OptimizerConfig) -> int:
    """Of the largest logit matrix: of several samples, or of one with a target at every token."""
    most = max(_MAX_LOGITS // shape.vocab, model.max_context)
    targets = min(most, max(optimizer.tokens_per_pass, model.max_context))
    return _LOGIT_COPIES * _FLOAT32 * targets * shape.vocab


def cache_bytes(shape: ModelShape, *, model: ModelConfig) -> int:
    """Keys and values of one conversation that fills the context."""
    return shape.kv_bytes_per_token * num_bytes(model) // 2 * model.max_context


def engine_bytes(
    shape: ModelShape, *, model: ModelConfig, engine: EngineConfig, num_adapters: int = 1
) -> dict[str, int]:
    """What one GPU of an engine holds when all its conversations are as long as they may be."""
    size, gpus = num_bytes(model), engine.tensor_parallel
    held = {"weights": size * shape.parameters // gpus}
    if model.lora.rank:
        adapter = shape.lora_parameters(model.lora.rank, modules=model.lora.target_modules)
        held["adapters"] = size * adapter * num_adapters // gpus
    caches = engine.max_batch * num_adapters * cache_bytes(shape, model=model) // gpus
    held[f"cache of {engine.max_batch * num_adapters} conversations"] = caches
    # A reading step: 4,096 tokens through the widest layer.
    held["activations"] = 4096 * size * (3 * shape.intermediate // gpus + 4 * shape.hidden)
    return held


__all__ = [
    "activation_bytes",
    "cache_bytes",
    "engine_bytes",
    "layer_activation_bytes",
    "learner_bytes",
    "logit_bytes",
    "num_bytes",
    "shape_of",
]
