"""Where experience comes from: worlds, how they are isolated, what may be spent in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig:
    name: str = ""
    """An alias (see `dyna plugins`) or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments for it."""


class Isolation(StrEnum):
    """Where an environment runs."""

    INLINE = "inline"
    """In the rollout's own event loop: for worlds that answer in microseconds."""
    THREAD = "thread"
    """In a thread of its own, so that one that hangs is given up after `step_timeout_s`."""
    PROCESS = "process"
    """In a process of its own, so that one that crashes, leaks or hangs is replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The processes in which `isolation: process` plays the real world."""

    num: int = 4
    """Processes at most, in each rollout actor; as many real episodes are played at once."""
    max_episodes: int = 200
    """Episodes after which a process is replaced, for worlds that leak."""
    max_memory_mb: int = 2048
    """MiB of resident memory above which a process is killed and its episode has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    name: str = "household"
    """The real world: an alias or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the world."""
    isolation: Isolation = Isolation.INLINE
    """`inline` for worlds that answer in microseconds, `thread` for those that may hang,
    `process` for those that may crash or must not share a process."""
    workers: WorkerConfig = field(default_factory=WorkerConfig)
    step_timeout_s: float = 30.0
    """Seconds after which a reset or step is given up and the episode recorded as a failure."""
    max_turns: int = 20
    """Turns after which an episode is cut; the world may set a lower limit itself."""
    first_task: int = 0
    """Where in the train split this run's tasks begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealConfig:
    """What may be spent in the real world."""

    demonstrations: int = 40
    """Expert episodes before the first round; counted like any other."""
    expert: PluginConfig = field(default_factory=lambda: PluginConfig(name="expert"))
    """Who plays them."""
    explorations: int = 120
    """Episodes of `exploration` behavior before the first round, for the world model."""
    exploration: PluginConfig = field(default_factory=lambda: PluginConfig(name="explorer"))
    """Who plays them."""
    episodes_per_round: int = 32
    """Episodes of the current policy in each round."""
    group_size: int = 1
    """Episodes of each task within a round."""
