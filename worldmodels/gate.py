"""May a freshly trained world model go live? Not if it has forgotten what the old one knew.

Candidate and live model predict the same held-out real turns of every past experience; turn by turn
the pairing shows what was lost and what was gained. By default a candidate is refused where that
shows harm, not unless it shows safety: a past of a few hundred turns seldom proves that nothing was
lost, but what noise or a wrong world does to a model is plain. `docs/results/continual_gate.json`
has both, measured (`python -m experiments.studies.continual.gate_trials`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dyna.config import GateBurden, GateConfig, GateTest
from dyna.evaluation.fidelity import TurnScore
from dyna.evaluation.paired import PairedTest, cluster_bootstrap, holm, mcnemar

SMALL = "others"
"""The experiences that have too few turns to be judged alone."""
FRESH = "fresh"
"""The held-out turns of the round itself."""
_SLACK = 1e-9
"""A fall of exactly `margin` is let through, rounding or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperienceVerdict:
    """Example: of 200 turns of `heat` the live model has 190 right and the candidate 150, 44 lost
    and 4 gained: `p_worse` is below 1e-6, and the candidate refused."""

    experience: str
    accepted: bool
    abstained: bool
    """There were too few turns to judge by, which speaks for the candidate."""
    num_turns: int
    num_episodes: int
    old_em: float
    """Exact match of the live model; NaN without turns."""
    new_em: float
    """Exact match of the candidate; NaN without turns."""
    lost: int
    """Turns that the live model has right and the candidate wrong."""
    gained: int
    p_worse: float = math.nan
    """Of the hypothesis that the fall is at most the margin; before correction."""
    p_safe: float = math.nan
    """Of the hypothesis that the fall is at least the margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What the gate says of one candidate, and of which experience it says so."""

    past: tuple[ExperienceVerdict, ...] = ()
    """Of each past experience."""
    fresh: ExperienceVerdict | None = None
    """Of the round itself; None where it was not asked, or all is refused already."""

    @property
    def accepted(self) -> bool:
        return all(part.accepted for part in self.parts)

    @property
    def abstained(self) -> bool:
        """Nothing could be asked of the past."""
        return all(part.abstained for part in self.past)

    @property
    def parts(self) -> tuple[ExperienceVerdict, ...]:
        return self.past if self.fresh is None else (*self.past, self.fresh)

    def to_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None, for JSON has none."""
        parts = [
            {k: None if v != v else v for k, v in asdict(part).items()}  # NaN differs from itself
            for part in self.parts
        ]
        return {"accepted": self.accepted, "abstained": self.abstained, "experiences": parts}


def judge(
    old: Sequence[TurnScore],
    *,
    new: Sequence[TurnScore],
    experiences: Mapping[str, str],
    config: GateConfig,
    seed: int = 0,
) -> tuple[ExperienceVerdict, ...]:
    """Compare live (`old`) and candidate (`new`) on the same turns, in the same order.

    `experiences` says of each episode, by id, what it belongs to. With the burden of harm the
    experiences share the level by Holm's correction; with that of safety each must pass at the
    whole level, an intersection-union test (Berger 1982). Raises `ValueError` when the turns are
    not the same.
    """
    if [s.trajectory_id for s in old] != [s.trajectory_id for s in new]:
        raise ValueError(
            f"live and candidate must be scored on the same turns, got {len(old)} and {len(new)}"
        )
    pairs: dict[str, list[tuple[TurnScore, TurnScore]]] = {}
    for a, b in zip(old, new, strict=True):
        pairs.setdefault(experiences[a.trajectory_id], []).append((a, b))
    groups = _grouped(pairs, min_turns=max(config.min_turns, 1))
    judged = [name for name in groups if len(groups[name]) >= max(config.min_turns, 1)]
    tests = {name: _test(groups[name], config=config, seed=seed) for name in judged}
    adjusted = dict(zip(judged, holm([tests[name].p_worse for name in judged]), strict=True))
    return tuple(
        _verdict(
            name, pairs=groups[name], test=tests.get(name), config=config, p=adjusted.get(name)
        )
        for name in groups
    )


def _grouped(
    pairs: Mapping[str, list[tuple[TurnScore, TurnScore]]], *, min_turns: int
) -> dict[str, list[tuple[TurnScore, TurnScore]]]:
    """By experience; the small ones, if there are several, as one."""
    small = [name for name in sorted(pairs) if len(pairs[name]) < min_turns]
    if len(small) < 2:
        return {name: pairs[name] for name in sorted(pairs)}
    large = {name: pairs[name] for name in sorted(pairs) if name not in small}
    return large | {SMALL: [pair for name in small for pair in pairs[name]]}


def _test(
    pairs: Sequence[tuple[TurnScore, TurnScore]], *, config: GateConfig, seed: int
) -> PairedTest:
    differences = [a.exact - b.exact for a, b in pairs]
    if config.test is GateTest.BOOTSTRAP:
        clusters = [a.trajectory_id for a, _ in pairs]
        return cluster_bootstrap(differences, clusters=clusters, margin=config.margin, seed=seed)
    lost, gained = differences.count(1), differences.count(-1)
    if config.test is GateTest.MCNEMAR:
        return mcnemar(lost=lost, gained=gained, num=len(pairs), margin=config.margin)
    drop = (lost - gained) / len(pairs)
    fell = drop > config.margin + _SLACK
    return PairedTest(drop=drop, p_worse=float(not fell), p_safe=float(fell))


def _verdict(
    name: str,
    *,
    pairs: Sequence[tuple[TurnScore, TurnScore]],
    test: PairedTest | None,
    config: GateConfig,
    p: float | None,
) -> ExperienceVerdict:
    """`p` is `test.p_worse`, corrected; both are None where there are too few turns."""
    accepted = True
    if test is not None and p is not None:
        is_harm = config.burden is GateBurden.HARM
        accepted = p > config.level if is_harm else test.p_safe <= config.level
    return ExperienceVerdict(
        experience=name,
        accepted=accepted,
        abstained=test is None,
        num_turns=len(pairs),
        num_episodes=len({a.trajectory_id for a, _ in pairs}),
        old_em=_rate([a for a, _ in pairs]),
        new_em=_rate([b for _, b in pairs]),
        lost=sum(a.exact and not b.exact for a, b in pairs),
        gained=sum(b.exact and not a.exact for a, b in pairs),
        p_worse=test.p_worse if test else math.nan,
        p_safe=test.p_safe if test else math.nan,
    )


def _rate(scores: Sequence[TurnScore]) -> float:
    return sum(score.exact for score in scores) / len(scores) if scores else math.nan


__all__ = ["FRESH", "SMALL", "ExperienceVerdict", "GateVerdict", "judge"]
