"""What a run on RLlib is made of, and the factory that makes it in every process.

Actors get two things that travel well, the name of a factory and the resolved configuration, and
build their own parts from them. No closure and no live object is ever shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from importlib import import_module
from typing import Any, Protocol, cast, get_type_hints

from dyna.config import RunConfig
from dyna.crew import LocalCrew
from dyna.loop import Crew, DynaLoop
from dyna.protocols import Stateful
from dyna.training.trainer import TokenTrainer

POLICY, WORLD_MODEL = "policy", "world_model"
ROLES = (POLICY, WORLD_MODEL)


class WeightStore(Protocol):
    """Where a player's weights live; every `dyna.protocols.Engine` is one."""

    weights_version: int

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Player:
    """One process's own world, policies, world model and engines."""

    crew: LocalCrew
    stores: Mapping[str, WeightStore] = field(default_factory=dict[str, WeightStore])
    """The engines by role (`policy`, `world_model`); a part without weights has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What players are given."""

    tensors: Mapping[str, Any]
    """By name; of a part that learns something other than tensors, that."""
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The driver's side: the loop, and what a checkpoint of it holds."""

    loop: DynaLoop
    parts: Mapping[str, Stateful]
    """Everything that changes during a run, by name; saved and restored together."""
    published: Mapping[str, Callable[[], Weights]] = field(
        default_factory=dict[str, Callable[[], Weights]]
    )
    """The live weights by role, for the players on other machines."""


class Factory(Protocol):
    """What `DynaConfig.dyna(build=...)` names; a module with these functions is one."""

    def build_player(self, config: RunConfig) -> Player:
        """The parts that play; called once in the driver and in every env runner."""
        ...

    def build_run(
        self,
        config: RunConfig,
        *,
        player: Player,
        crew: Crew,
        trainers: Mapping[str, TokenTrainer],
    ) -> Run:
        """The loop around `crew`. `player` is the driver's own; its crew's `publish_*` must be set
        here to move the learned weights into `player.stores`. `trainers` are by role."""
        ...


def find_factory(name: str) -> Factory:
    """The factory called `package.module` or `package.module:Name`.

    Raises `ValueError` when it is not there or lacks one of the two functions.
    """
    module_name, _, attribute = name.partition(":")
    try:
        found: Any = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ValueError(f"build={name!r}: there is no module {error.name!r} here") from error
    if attribute:
        found = getattr(found, attribute, None)
    missing = [part for part in ("build_player", "build_run") if part not in dir(found)]
    if missing:
        raise ValueError(
            f"build={name!r} must have {' and '.join(missing)}; see rllib.parts.Factory"
        )
    return cast(Factory, found)


def freeze(config: RunConfig) -> dict[str, Any]:
    """`config` as plain dicts, lists, strings and numbers."""
    return _plain(asdict(config))


def thaw(values: Mapping[str, Any]) -> RunConfig:
    """The `RunConfig` that `freeze` was given. Raises `TypeError` for an unknown key."""
    return thaw_section(RunConfig, values=values)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in cast(dict[str, Any], value).items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in cast(list[Any], value)]
    return value


def thaw_section(kind: Any, *, values: Mapping[str, Any]) -> Any:
    """One section of it, such as `ModelConfig`, from its plain values."""
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {}
    for key, value in values.items():
        hint = hints.get(key)
        if is_dataclass(hint):
            fields[key] = thaw_section(hint, values=value)
        elif isinstance(hint, type) and issubclass(hint, Enum):
            fields[key] = hint(value)
        else:
            fields[key] = value
    return kind(**fields)
