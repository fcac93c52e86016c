"""What is learned after what: a stream of experiences, walked round by round.

Every experience has an opening (demonstrations, exploration) and some rounds of the Dyna loop; the
rounds of a run are numbered through. A run of one world is a stream of one experience without a
name. The nouns are those of continual learning (Lomonaco et al., "Avalanche", 2021, arXiv
2104.00405).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from dyna.config import ExperienceConfig, RealConfig, RunConfig, WorldConfig
from dyna.types import Task

EXPERIENCE = "experience"
"""The key of a task's params under which a stream notes where the task belongs."""


def experience_of(task: Task) -> str:
    """The experience a task belongs to; empty outside a stream. No agent or model ever sees it."""
    return str(task.params.get(EXPERIENCE, ""))


def split_of(experience: str, *, split: str) -> str:
    """How a stream's world calls a split of one experience."""
    return f"{experience}:{split}" if experience else split


def world_of(config: RunConfig) -> WorldConfig:
    """The world that a run plays: of a run with a stream, all of its worlds behind one."""
    parts = config.stream.experiences
    if not parts:
        return config.world
    params: dict[str, Any] = {
        "worlds": {part.name: _section(part, own=config.world) for part in parts}
    }
    if splits := {part.name: dict(part.splits) for part in parts if part.splits}:
        params["splits"] = splits
    return replace(config.world, name="stream", params=params)


def _section(part: ExperienceConfig, *, own: WorldConfig) -> dict[str, Any]:
    if part.world in ("", own.name):
        return {"name": own.name, "params": {**own.params, **part.params}}
    return {"name": part.world, "params": dict(part.params)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """One part of a stream."""

    name: str = ""
    real: RealConfig
    """What may be spent on it in the real world."""
    rounds: int
    """After the opening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in the stream a round of the run is."""

    experience: Experience
    round: int
    """Within the experience; 0 is its opening."""

    @property
    def is_opening(self) -> bool:
        return self.round == 0

    @property
    def is_last(self) -> bool:
        """The experience ends with this round."""
        return self.round == self.experience.rounds


class Stream:
    """Example: two experiences of 2 and 1 rounds are rounds 0 to 4 of the run, openings at 0 and 3.

    Raises `ValueError` without experiences, and where two of several have one name or none.
    """

    def __init__(self, experiences: Sequence[Experience]) -> None:
        self.experiences = tuple(experiences)
        names = [experience.name for experience in self.experiences]
        if not names or (len(names) > 1 and (len(set(names)) < len(names) or "" in names)):
            raise ValueError(f"the experiences of a stream need names of their own, got {names}")

    @classmethod
    def of(cls, config: RunConfig) -> Self:
        """The stream of a run; of a run without one, or of all at once, one experience."""
        if config.stream.joint and config.stream.experiences:
            return cls([_joint(config)])
        experiences = [
            Experience(name=part.name, real=part.real, rounds=part.rounds)
            for part in config.stream.experiences
        ]
        return cls(experiences or [Experience(real=config.real, rounds=config.rounds)])

    @property
    def last_round(self) -> int:
        """The number of the run's last round; the first is 0."""
        return sum(experience.rounds + 1 for experience in self.experiences) - 1

    @property
    def is_continual(self) -> bool:
        """Whether its experiences have names, and are measured one by one."""
        return bool(self.experiences[0].name)

    def at(self, round: int) -> Place:
        """Rounds beyond the last belong to the last experience."""
        for experience in self.experiences[:-1]:
            if round <= experience.rounds:
                return Place(experience=experience, round=round)
            round -= experience.rounds + 1
        return Place(experience=self.experiences[-1], round=round)


def _joint(config: RunConfig) -> Experience:
    """All experiences as one: as many rounds, and the same budget to a few episodes a round."""
    parts = config.stream.experiences
    rounds = sum(part.rounds for part in parts)
    played = sum(part.rounds * part.real.episodes_per_round for part in parts)
    real = replace(
        parts[0].real,
        demonstrations=sum(part.real.demonstrations for part in parts),
        explorations=sum(part.real.explorations for part in parts),
        episodes_per_round=round(played / max(1, rounds)),
    )
    return Experience(real=real, rounds=rounds)


__all__ = ["EXPERIENCE", "Experience", "Place", "Stream", "experience_of", "split_of", "world_of"]
