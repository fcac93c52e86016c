"""Learning one thing after another: the stream of experiences, and what guards old skills."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dyna.sections.worlds import RealConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperienceConfig:
    """One part of a stream: a world or a kind of task, and what may be spent on it."""

    name: str = ""
    """Names it in metrics, tables and buffers; unique within the stream."""
    world: str = ""
    """An alias or `package.module:Name`; empty is the run's own `world.name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the world; of the run's own world, changes of `world.params`."""
    rounds: int = 1
    """Turns of the Dyna loop after the opening."""
    real: RealConfig = field(default_factory=RealConfig)
    """What may be spent in the real world; stands in the place of the run's own `real`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """What is learned after what. Without experiences a run is of one world."""

    experiences: list[ExperienceConfig] = field(default_factory=list[ExperienceConfig])
