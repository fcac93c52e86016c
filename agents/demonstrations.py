"""What a policy was shown, and what it must not forget: samples to mix into later updates.

Draws are even over skills (experiences of a stream, else families of tasks), however much was shown
of each: a share of every update speaks for every old skill.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from dyna.seeding import generator
from dyna.types import TrainingSample

_SHARE = 0.25
"""Demonstrations drawn for an update, as a share of its other samples; enough to hold the start,
few enough to cost little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstrations:
    """Samples by skill."""

    by_skill: Mapping[str, tuple[TrainingSample, ...]]

    def __len__(self) -> int:
        return sum(map(len, self.by_skill.values()))

    @classmethod
    def of(cls, samples: Sequence[TrainingSample], *, skills: Sequence[str]) -> Self:
        """`skills[i]` is the skill of `samples[i]`."""
        grouped: dict[str, list[TrainingSample]] = {}
        for sample, skill in zip(samples, skills, strict=True):
            grouped.setdefault(skill, []).append(sample)
        return cls(by_skill={skill: tuple(own) for skill, own in grouped.items()})

    def draw(self, num_samples: int, *, seed: int, update: int) -> list[TrainingSample]:
        """For an update of `num_samples`: none twice, and as even over skills as what is held."""
        num = min(len(self), math.ceil(_SHARE * num_samples))
        rng = generator(seed, "demonstrations", update)
        waiting = {
            skill: rng.permutation(len(self.by_skill[skill])).tolist()
            for skill in sorted(self.by_skill)
        }
        skills: list[str] = [sorted(waiting)[k] for k in rng.permutation(len(waiting)).tolist()]
        drawn: list[TrainingSample] = []
        while len(drawn) < num:
            for skill in skills:
                if waiting[skill] and len(drawn) < num:
                    drawn.append(self.by_skill[skill][waiting[skill].pop()])
        return drawn

    def to_json(self) -> dict[str, Any]:
        """All that a cloned sample has: its tokens, and the weight of each."""
        return {
            skill: [[sample.token_ids, sample.ce] for sample in samples]
            for skill, samples in self.by_skill.items()
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Raises `TypeError`, `ValueError` or `AttributeError` for what `to_json` did not give."""
        return cls(
            by_skill={
                skill: tuple(
                    TrainingSample(token_ids=tuple(token_ids), ce=tuple(ce))
                    for token_ids, ce in samples
                )
                for skill, samples in values.items()
            }
        )


__all__ = ["Demonstrations"]
