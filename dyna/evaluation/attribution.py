"""Who forgot: how much of a lost skill is the world model's fault, and how much the policy's.

One task is measured right after it was learned and again at the end of the stream: in the real
world; in the live model, which shows what the model believes; and in the real world once more, of
a policy that was trained beside it in the same way, but whose every dream was dreamt by an oracle,
the real world itself. What even perfect dreams do not hold the policy forgets; what they would
have held the model lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dyna.evaluation.intervals import Interval, student_t


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Success rates on one experience's held-out tasks, in [0, 1]; NaN where not measured.

    Example: learned to 0.9, now 0.5 with dreams of the live model, 0.8 with an oracle's: of 0.4
    that was lost 0.1 is the policy's share and 0.3 the model's.
    """

    learned: float
    """In the real world, right after the experience was learned."""
    real: float
    """In the real world, at the end."""
    model: float
    """In the live model, at the end."""
    oracle: float
    """In the real world, at the end of the run whose dreams are an oracle's."""

    @property
    def forgotten(self) -> float:
        """Below 0 is gain."""
        return self.learned - self.real

    @property
    def policy_share(self) -> float:
        """Of what was forgotten, the part that not even perfect dreams hold."""
        return self.learned - self.oracle

    @property
    def model_share(self) -> float:
        """Of what was forgotten, the part that perfect dreams would have held."""
        return self.oracle - self.real

    @property
    def exploitation_gap(self) -> float:
        """What the policy has in the live model alone; above 0 the model flatters it."""
        return self.model - self.real

    def figures(self) -> dict[str, float]:
        """All of them, by the names of tables."""
        return {
            "learned": self.learned,
            "real": self.real,
            "model": self.model,
            "oracle": self.oracle,
            "forgotten": self.forgotten,
            "policy_share": self.policy_share,
            "model_share": self.model_share,
            "exploitation_gap": self.exploitation_gap,
        }


def attribute(
    *,
    learned: Mapping[str, float],
    real: Mapping[str, float],
    model: Mapping[str, float],
    oracle: Mapping[str, float],
) -> dict[str, Attribution]:
    """By experience. A rate that is missing in one mapping is NaN, and so is what needs it.

    Raises `ValueError` for a rate outside [0, 1].
    """
    names = dict.fromkeys([*learned, *real, *model, *oracle])
    for rates in (learned, real, model, oracle):
        for name, rate in rates.items():
            if not (math.isnan(rate) or 0.0 <= rate <= 1.0):
                raise ValueError(f"a success rate must be in [0, 1], got {rate} of {name!r}")
    return {
        name: Attribution(
            learned=learned.get(name, math.nan),
            real=real.get(name, math.nan),
            model=model.get(name, math.nan),
            oracle=oracle.get(name, math.nan),
        )
        for name in names
    }


def figures_over_seeds(seeds: Sequence[Mapping[str, Attribution]]) -> dict[str, Interval]:
    """Each figure as the mean over experiences, with Student's t interval over seeds.

    What an experience lacks is left out of its mean. Raises `ValueError` for fewer than two seeds
    and where a seed has a figure of no experience.
    """
    if not seeds:
        raise ValueError("who forgot is told over seeds, got none")
    found: dict[str, list[float]] = {}
    for number, attributions in enumerate(seeds):
        named: dict[str, list[float]] = {}
        for attribution in attributions.values():
            for name, value in attribution.figures().items():
                named.setdefault(name, [])
                if not math.isnan(value):
                    named[name].append(value)
        for name, values in named.items():
            if not values:
                raise ValueError(f"seed {number} has no figure {name!r} of any experience")
            found.setdefault(name, []).append(math.fsum(values) / len(values))
    return {name: student_t(values) for name, values in found.items()}


__all__ = ["Attribution", "attribute", "figures_over_seeds"]
