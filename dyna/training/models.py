"""Language models and tokenizers from the package, a folder or a hub.

A folder is checked before it is trusted: what is missing or half written is named, with the
remedy, instead of a model with some weights left random.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen2Config,
)
from transformers.utils import logging as bars

from dyna.configuring import ConfigError
from dyna.files import DamagedFileError
from dyna.training.lora import inject_lora

if TYPE_CHECKING:
    from dyna.config import ModelConfig

BASE_MODEL = "base"
"""The name under which the checkpoint in the package goes."""
TINY_MODEL = "tiny"
"""Stands for a model that a run makes for its own world before it begins; a run puts the folder of
that model in its place (`experiments.tiny`)."""

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_GENERIC_TOKENIZERS = ("TokenizersBackend", "PreTrainedTokenizerFast")
_SINGLE_FILE = "model.safetensors"
_SHARD_INDEX = "model.safetensors.index.json"


def resolve_model_path(path: str) -> str:
    """The folder of the package's own checkpoint for `base`; anything else unchanged.

    Raises `ConfigError` for `tiny`, which a run must have replaced by a folder.
    """
    if path == TINY_MODEL:
        raise ConfigError(
            "model path `tiny` is made by a run for its own world and stands for no folder yet; "
            "make one with `python -m experiments.tiny_model CONFIG --out FOLDER` and name it"
        )
    if path == BASE_MODEL:
        return str(resources.files("dyna") / "data" / "base_model")
    return path


def load_model(config: ModelConfig) -> PreTrainedModel:
    """The causal language model that `config` names, in evaluation mode (no dropout).

    With `config.lora` it holds an adapter that does nothing yet, and all else is frozen. Only
    safetensors weights are read. Raises `DamagedFileError` for a folder that is missing, incomplete
    or damaged and for weights that do not fit the model, `ConfigError` for an unknown dtype, a
    context longer than the model's and adapters that it has no layers for, `OSError` when a hub
    name cannot be had.
    """
    if config.dtype not in _DTYPES:
        raise ConfigError(f"model.dtype must be one of {sorted(_DTYPES)}, got {config.dtype!r}")
    path = resolve_model_path(config.path)
    is_folder = _is_folder(config.path)
    if is_folder:
        _check_weights(Path(path))
    with no_bars() if is_folder else nullcontext():
        loaded = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=_DTYPES[config.dtype],
            use_safetensors=True,
            local_files_only=is_folder,
            output_loading_info=True,
        )
    model, info = cast("tuple[PreTrainedModel, dict[str, Any]]", loaded)
    absent = sorted({str(key) for key in [*info["missing_keys"], *info["mismatched_keys"]]})
    if absent:
        raise DamagedFileError(
            f"model {path!r} lacks fitting weights for {absent[:3]} ({len(absent)} in all); "
            "its config.json and its safetensors belong to different models: save it again"
        )
    _check_context(model, config=config)
    if config.lora.rank:
        inject_lora(model, config=config.lora)
    model.to(find_device(config.device))  # pyright: ignore[reportArgumentType]
    return model.eval()


def load_skeleton(config: ModelConfig) -> PreTrainedModel:
    """The model that `config` names without its weights: names, shapes and settings alone.

    For an engine that loads the weights itself. Raises as `load_model` does, but for weights that
    do not fit the model.
    """
    if config.dtype not in _DTYPES:
        raise ConfigError(f"model.dtype must be one of {sorted(_DTYPES)}, got {config.dtype!r}")
    path = resolve_model_path(config.path)
    is_folder = _is_folder(config.path)
    if is_folder:
        _check_weights(Path(path))
    settings = AutoConfig.from_pretrained(path, local_files_only=is_folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings, dtype=_DTYPES[config.dtype])
    _check_context(model, config=config)
    return cast("PreTrainedModel", model)


def find_device(name: str) -> torch.device:
    """The device called `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises `ConfigError` for a name that is none, and for a GPU that this process cannot see.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"model.device must be `auto`, `cpu`, `cuda` or `cuda:N`, got {name!r}"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"model.device is {name!r}, and this process sees {torch.cuda.device_count()} GPUs; "
            "use `auto`, or give its actor one (engine.num_gpus, runtime.gpus_per_learner, "
            "runtime.gpus_per_env_runner)"
        )
    return device


@contextmanager
def no_bars() -> Generator[None]:
    """A folder loads in a moment; a bar for each load would cut through what a run shows."""
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer beside the model that `config` names; raises as `load_model` does."""
    path = resolve_model_path(config.path)
    is_folder = _is_folder(config.path)
    if is_folder:
        names = ("tokenizer.json", "tokenizer_config.json")
        _check_files(Path(path), needed=names)
        for name in names:
            _read_json(Path(path) / name)
    # By the model's type AutoTokenizer would give a Qwen2 model Qwen2's way of splitting text,
    # whatever the folder's own tokenizer says.
    own = is_folder and _tokenizer_class(Path(path)) in _GENERIC_TOKENIZERS
    load = PreTrainedTokenizerFast if own else AutoTokenizer
    tokenizer = load.from_pretrained(path, local_files_only=is_folder)
    return cast("PreTrainedTokenizerBase", tokenizer)


def _tokenizer_class(folder: Path) -> str:
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    return str(settings.get("tokenizer_class", ""))


def tiny_config(
    vocab_size: int,
    *,
    hidden_size: int = 96,
    num_layers: int = 4,
    num_heads: int = 3,
    intermediate_size: int = 256,
    max_context: int = 1024,
    initializer_range: float = 0.04,
) -> Qwen2Config:
    """A Qwen2 of about half a million parameters with heads of 32 and tied embeddings."""
    return Qwen2Config(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        head_dim=32,  # pyright: ignore[reportCallIssue]
        max_position_embeddings=max_context,
        initializer_range=initializer_range,
        tie_word_embeddings=True,
        attention_dropout=0.0,
    )


def _is_folder(path: str) -> bool:
    """A path on this machine rather than the name of a model on a hub (`owner/name`)."""
    looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1
    return path == BASE_MODEL or looks_local or Path(path).is_dir()


def _check_files(folder: Path, *, needed: tuple[str, ...]) -> None:
    if not folder.is_dir():
        raise DamagedFileError(
            f"model folder {str(folder)!r} does not exist; give `base`, a folder written by "
            "`save_pretrained`, or a hub name"
        )
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise DamagedFileError(
            f"model folder {str(folder)!r} lacks {', '.join(missing)}: it is no model or was only "
            "half written; write it again with `save_pretrained`"
        )


def _check_weights(folder: Path) -> None:
    _check_files(folder, needed=("config.json",))
    names = [_SINGLE_FILE]
    if (folder / _SHARD_INDEX).is_file():
        index = _read_json(folder / _SHARD_INDEX)
        names = sorted(set(index.get("weight_map", {}).values()))
    _read_json(folder / "config.json")
    _check_files(folder, needed=tuple(names))
    for name in names:
        try:
            with safe_open(folder / name, framework="pt"):
                pass
        except SafetensorError as error:
            raise DamagedFileError(
                f"weights {str(folder / name)!r} cannot be read ({error}): the file was only half "
                "written; write the model again with `save_pretrained`"
            ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedFileError(
            f"{str(path)!r} is not JSON ({error}): it was only half written; write the model again"
        ) from error


def _check_context(model: PreTrainedModel, *, config: ModelConfig) -> None:
    longest: int | None = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and config.max_context > longest:
        raise ConfigError(
            f"model.max_context must be <= {longest}, the context of {config.path!r}, "
            f"got {config.max_context}"
        )
