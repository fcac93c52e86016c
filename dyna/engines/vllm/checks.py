"""What can be known to go wrong before vLLM is started, said at once and in one sentence."""

# vLLM is an extra, torch and transformers leave parts of their signatures untyped.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel

from dyna.config import LoRAConfig, ModelConfig
from dyna.configuring import ConfigError
from dyna.engines.vllm.settings import Settings
from dyna.files import DamagedFileError
from dyna.training.models import load_skeleton, load_tokenizer, resolve_model_path

_CPU_BLOCK = 128
"""Tokens of a block of the cache in vLLM's CPU build."""
_CPU_MIN_HEAD = 32
_PREFIX = "base_model.model."
"""Of every name in an adapter, as PEFT saves it."""


class MissingVLLMError(ValueError):
    """vLLM is not installed in this environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """What the engine must know of its model."""

    vocab_size: int
    weights: Mapping[str, tuple[int, ...]]
    """Shapes of what `load_weights` takes, by name: all weights, or the adapter's alone."""
    tied: frozenset[str]
    """Names that may be left out, for they are others' under a second name."""
    bytes_per_token: int
    """Of keys and values, in one of the engine's devices."""
    head_size: int


def require_vllm() -> None:
    """Raise `MissingVLLMError`, with the command that installs it, if vLLM is not there."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingVLLMError(
            "the engine `vllm` cannot be made: vLLM is not installed in this environment; "
            'run: pip install "dyna-agents[vllm]" (without a GPU, in a checkout: make setup-vllm)'
        )


def inspect_model(settings: Settings) -> ModelShape:
    """Read the model's folder, without its weights.

    Raises `DamagedFileError` for a folder that is not there, incomplete, or with weights of other
    shapes than its settings ask for, `ConfigError` for a context longer than the model's and a
    tokenizer that has more tokens than the model.
    """
    skeleton = load_skeleton(replace(settings.model, max_context=settings.max_context))
    _check_shapes(skeleton, folder=Path(resolve_model_path(settings.model.path)))
    text: Any = skeleton.config.get_text_config()
    embeddings: Any = skeleton.get_input_embeddings()
    vocab_size = int(embeddings.weight.shape[0])
    _check_tokenizer(settings.model, vocab_size=vocab_size)
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    num_heads = max(1, text.num_key_value_heads // settings.tensor_parallel)
    lora = settings.model.lora
    tied = _tied_names(skeleton)
    own = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    return ModelShape(
        vocab_size=vocab_size,
        weights=_adapter_shapes(skeleton, lora=lora) if lora.rank else own,
        tied=frozenset() if lora.rank else tied,
        bytes_per_token=2
        * text.num_hidden_layers
        * num_heads
        * head_size
        * next(skeleton.parameters()).element_size(),
        head_size=head_size,
    )


def check_weights(weights: Mapping[str, Tensor], *, shape: ModelShape) -> None:
    """Raise `ValueError` for unknown or missing names or wrong shapes."""
    unknown = sorted(set(weights) - set(shape.weights))
    if unknown:
        raise ValueError(f"weights has names the model lacks, first of all {unknown[0]!r}")
    missing = sorted(set(shape.weights) - set(weights) - shape.tied)
    if missing:
        raise ValueError(f"weights lacks {len(missing)} names, first of all {missing[0]!r}")
    for name, tensor in weights.items():
        if tuple(tensor.shape) != shape.weights[name]:
            raise ValueError(
                f"weights[{name!r}] must have shape {shape.weights[name]}, "
                f"got {tuple(tensor.shape)}"
            )


def plan_cache(settings: Settings, *, shape: ModelShape, is_cpu: bool) -> int | None:
    """Bytes of the cache of keys and values; None lets vLLM measure what a GPU has left.

    On a CPU there is room for every conversation of a batch in full, within half of the memory
    that is free. Raises `ConfigError` when not even one conversation fits.
    """
    import psutil  # vLLM brings it

    given = settings.kv_cache_memory_bytes
    if is_cpu and shape.head_size < _CPU_MIN_HEAD:
        raise ConfigError(
            f"vLLM's CPU build attends with heads of {_CPU_MIN_HEAD} and more, and those of "
            f"{settings.model.path!r} have {shape.head_size}; use the engine `transformers`"
        )
    if given is None and not is_cpu:
        return None
    block = _CPU_BLOCK if is_cpu else 16
    one = math.ceil(settings.max_context / block) * block * shape.bytes_per_token
    free = int(psutil.virtual_memory().available)
    # One more block for each: vLLM keeps some for itself.
    wanted = (settings.max_batch + 1) * (one + block * shape.bytes_per_token)
    planned = min(wanted, max(free // 2, one)) if given is None else given
    if planned < one or (is_cpu and planned > free):
        raise ConfigError(
            f"kv_cache_memory_bytes is {planned}: one conversation of max_context="
            f"{settings.max_context} tokens takes {one} bytes"
            + (f", and {free} are free" if is_cpu else "")
            + "; raise it, lower max_context, or free memory"
        )
    return planned


def _check_shapes(skeleton: PreTrainedModel, *, folder: Path) -> None:
    """vLLM copies what fits of a weight into the place it has for it, and says nothing."""
    own = skeleton.state_dict()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            for name in weights.offset_keys():
                shape = tuple(weights.get_slice(name).get_shape())
                if name in own and shape != tuple(own[name].shape):
                    raise DamagedFileError(
                        f"{name!r} in {str(path)!r} has shape {shape} and config.json asks for "
                        f"{tuple(own[name].shape)}: they belong to different models; save it again"
                    )


def _check_tokenizer(config: ModelConfig, *, vocab_size: int) -> None:
    folder = Path(resolve_model_path(config.path))
    if folder.is_dir() and not (folder / "tokenizer_config.json").is_file():
        return  # The engine itself works with token ids.
    num_tokens = len(load_tokenizer(config))
    if num_tokens > vocab_size:
        raise ConfigError(
            f"the tokenizer in {config.path!r} has {num_tokens} tokens and the model embeds "
            f"{vocab_size}: they belong to different models; save both together again"
        )


def _tied_names(model: PreTrainedModel) -> frozenset[str]:
    """The output layer's name where it is the embeddings under another one."""
    if not model.config.get_text_config().tie_word_embeddings:
        return frozenset()
    output = model.get_output_embeddings()
    return frozenset(f"{name}.weight" for name, module in model.named_modules() if module is output)


def _adapter_shapes(model: PreTrainedModel, *, lora: LoRAConfig) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in lora.target_modules:
            shapes[f"{_PREFIX}{name}.lora_A.weight"] = (lora.rank, module.in_features)
            shapes[f"{_PREFIX}{name}.lora_B.weight"] = (module.out_features, lora.rank)
    return shapes
