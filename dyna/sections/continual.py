"""Learning one thing after another: the stream of experiences, and what guards old skills."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
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
    splits: dict[str, str] = field(default_factory=dict[str, str])
    """What this world calls a split that the run names, where it calls it otherwise, such as
    `{valid_unseen: test}`."""
    rounds: int = 1
    """Turns of the Dyna loop after the opening."""
    real: RealConfig = field(default_factory=RealConfig)
    """What may be spent in the real world; stands in the place of the run's own `real`."""


class Boundaries(StrEnum):
    """How buffers and regularizers learn that a new experience has begun."""

    KNOWN = "known"
    """They are told."""
    DETECTED = "detected"
    """From the world model's loss on fresh real episodes, before it trains on them."""


class DriftTest(StrEnum):
    """For a change of the mean of the logarithm of the losses."""

    PAGE_HINKLEY = "page_hinkley"
    ADWIN = "adwin"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftConfig:
    """When the world is held to have changed. Read only with `boundaries: detected`."""

    test: DriftTest = DriftTest.PAGE_HINKLEY
    threshold: float = 3.0
    """Page-Hinkley: the rise in nats, summed over episodes, that is drift."""
    tolerance: float = 0.2
    """Page-Hinkley: the part of each episode's rise that is put up with."""
    level: float = 0.1
    """ADWIN: chance of a false alarm at one comparison."""
    min_episodes: int = 10
    """Episodes after a change before the next one can be found."""
    floor: float = 0.05
    """Added to every loss before the logarithm, in nats per token: below it, all is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """What is learned after what. Without experiences a run is of one world."""

    experiences: list[ExperienceConfig] = field(default_factory=list[ExperienceConfig])
    joint: bool = False
    """All at once instead of one after another, on the sum of their budgets: what forgetting is
    measured against."""
    boundaries: Boundaries = Boundaries.KNOWN
    drift: DriftConfig = field(default_factory=DriftConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalConfig:
    """Dreams of old tasks, played by the old policy before something new is learned."""

    episodes: int = 0
    """Dreams of each past experience; 0 turns rehearsal off."""
    min_confidence: float = 0.0
    """A dream with a prediction less sure than this is not kept."""
    min_win_confidence: float = 0.0
    """A dream whose success was predicted less surely than this is not kept."""
    new_task_fraction: float = 0.0
    """Share of the dreams that pursue another task in the same place, where the world poses one."""
    share: float = 1.0
    """Old episodes of each past experience that are cloned beside the new demonstrations, as a
    share of their number."""
    real: bool = True
    """Real successes that the buffer still holds are cloned too."""
    into_model: bool = False
    """The kept dreams enter the buffer of the world model: generative replay."""


class AlarmScope(StrEnum):
    """For how long imagination stops when the alarm trips."""

    EXPERIENCE = "experience"
    """Until the next experience of the stream begins."""
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmConfig:
    """Tasks played in the model and in the real world, and when their difference is too large."""

    episodes_per_round: int = 0
    """Real episodes spent on it after each round's dreams; 0 turns the alarm off."""
    max_episodes_per_round: int = 48
    """As long as a round looks bad it is followed up, to this many real episodes."""
    tolerance: float = 0.1
    """How far imagined success may lie above the verified one."""
    level: float = 0.01
    """Chance of a false alarm, at most, while one scope lasts."""
    scope: AlarmScope = AlarmScope.EXPERIENCE
