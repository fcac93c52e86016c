"""Engines from the config: one for each model, or one that holds both as adapters.

An engine's constructor takes what it needs by name: `model` (loaded, on its device), or
`model_config` where it loads weights itself; `max_batch`, `max_context`, `tensor_parallel`,
`sleeps`, `start_timeout_s`; and `adapters`, the names under which it answers with one base, if it
can hold several.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

from dyna.config import EngineConfig, ModelConfig, RunConfig
from dyna.configuring import ConfigError
from dyna.plugins import build, resolve
from dyna.protocols import Engine
from dyna.training.models import load_model


@runtime_checkable
class HasAdapters(Protocol):
    """An engine that answers for several models at once: adapters over one base."""

    def adapter(self, name: str) -> Engine:
        """The engine of one of them: its requests, its weights, its version."""
        ...


def language_models(config: RunConfig) -> dict[str, ModelConfig]:
    """By role, the models of those parts that take an `engine`; the others are none."""
    parts = {
        "policy": ("policies", config.policy),
        "world_model": ("world_models", config.world_model),
    }
    return {
        role: part.model
        for role, (kind, part) in parts.items()
        if "engine" in inspect.signature(resolve(kind, part.name)).parameters
    }


def trained_models(config: RunConfig) -> dict[str, ModelConfig]:
    """Of `language_models`, those that learn: all, or none where the engine is somebody's server,
    which is given no weights."""
    is_served = "server" in inspect.signature(resolve("engines", config.engine.name)).parameters
    return {} if is_served else language_models(config)


def make_engines(config: EngineConfig, *, models: Mapping[str, ModelConfig]) -> dict[str, Engine]:
    """The engine of each role in `models`, in this process.

    Raises `ConfigError` where `config.shared` asks of an engine or of models what they cannot do.
    """
    if not config.shared:
        return {role: _make(config, model=model) for role, model in models.items()}
    first = next(iter(models.values()))
    differing = [role for role, model in models.items() if _base(model) != _base(first)]
    if differing or not all(model.lora.rank for model in models.values()):
        raise ConfigError(
            "engine.shared=true needs models of one path, dtype and max_context, each with a "
            "lora.rank above 0: the engine holds one base and an adapter for each"
        )
    engine: Any = _make(config, model=first, adapters=tuple(models))
    if not isinstance(engine, HasAdapters):
        raise ConfigError(
            f"engine `{config.name}` holds one model only; set engine.shared=false, or use `vllm`"
        )
    return {role: engine.adapter(role) for role in models}


def _base(model: ModelConfig) -> tuple[object, ...]:
    return (model.path, model.dtype, model.max_context, model.device)


def _make(config: EngineConfig, *, model: ModelConfig, adapters: Sequence[str] = ()) -> Engine:
    offered: dict[str, Any] = {
        "model_config": model,
        "max_batch": config.max_batch,
        "max_context": model.max_context,
        "tensor_parallel": config.tensor_parallel,
        "adapters": tuple(adapters),
        "sleeps": config.sleeps,
        "start_timeout_s": config.start_timeout_s,
    }
    if "model" in inspect.signature(resolve("engines", config.name)).parameters:
        offered["model"] = load_model(model)
    return cast(Engine, build("engines", config, **offered))
