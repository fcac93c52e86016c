"""May a freshly trained world model go live? Not if it has forgotten what the old one knew.

Candidate and live model predict the same held-out real turns of every past experience; turn by turn
the pairing shows what was lost and what was gained: in answers that are right, and in the
probability of the true ones, for noise makes a model doubt before it makes it err.

What has to be shown is the burden. To ask for proof of harm alone refuses what is plainly bad, but
noise that is mild, or drowned in replay, costs a point or two that a few hundred turns cannot show.
To ask for proof of safety on each experience keeps most good updates out, for the same reason. So
the default asks for both where each is strong: no experience may be shown to be harmed, and the
update must be shown to be worth it, by a past that is safe as a whole or a win on fresh turns.
`docs/results/continual_gate.json` has each burden and test on the same candidates
(`python -m experiments.studies.continual.gate_trials`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dyna.config import GateBurden, GateConfig, GateTest
from dyna.evaluation.fidelity import TurnScore
from dyna.evaluation.paired import PairedTest, cluster_bootstrap, holm, mcnemar

ALL = "all"
"""The past as a whole, where it has several experiences: harm that is spread thin shows here, and
experiences with too few turns to be judged alone count here."""
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
    loss_rise: float = math.nan
    """Of the candidate's loss above the live model's, in nats per turn."""
    p_doubt: float = math.nan
    """Of the hypothesis that the loss rose by at most `loss_margin`; before correction."""
    p_sure: float = math.nan
    """Of the hypothesis that the loss rose by at least `loss_margin`."""
    p_won: float = math.nan
    """Of the hypothesis that no more answers became right than wrong."""

    @property
    def p_harmless(self) -> float:
        """Of the hypothesis of harm, by the sharper of the two measures that there is."""
        return self.p_safe if math.isnan(self.p_sure) else self.p_sure


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """What the gate says of one candidate, and of which experience it says so."""

    past: tuple[ExperienceVerdict, ...] = ()
    """Of each past experience."""
    fresh: ExperienceVerdict | None = None
    """Of the round itself; None where it was not asked, or all is refused already."""
    is_worth_it: bool | None = None
    """Shown to be safe as a whole, or to win on fresh turns; None where nobody asked."""

    @property
    def accepted(self) -> bool:
        return self.is_worth_it is not False and all(part.accepted for part in self.parts)

    @property
    def whole(self) -> ExperienceVerdict | None:
        """Of the past as a whole; None where there is none."""
        return next((part for part in self.past if part.experience == ALL), None) or next(
            iter(self.past), None
        )

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
        return {
            "accepted": self.accepted,
            "abstained": self.abstained,
            "is_worth_it": self.is_worth_it,
            "experiences": parts,
        }


def judge(
    old: Sequence[TurnScore],
    *,
    new: Sequence[TurnScore],
    experiences: Mapping[str, str],
    config: GateConfig,
    seed: int = 0,
) -> tuple[ExperienceVerdict, ...]:
    """Compare live (`old`) and candidate (`new`) on the same turns, in the same order.

    `experiences` says of each episode, by id, what it belongs to. With the burden of safety each
    must pass at the whole level, an intersection-union test (Berger 1982); with any other the
    experiences share the level by Holm's correction, mistakes and doubts alike. Raises
    `ValueError` when the turns are not the same.
    """
    if [s.trajectory_id for s in old] != [s.trajectory_id for s in new]:
        raise ValueError(
            f"live and candidate must be scored on the same turns, got {len(old)} and {len(new)}"
        )
    pairs: dict[str, list[tuple[TurnScore, TurnScore]]] = {}
    for a, b in zip(old, new, strict=True):
        pairs.setdefault(experiences[a.trajectory_id], []).append((a, b))
    groups = {name: pairs[name] for name in sorted(pairs)}
    if len(groups) > 1:
        groups[ALL] = [pair for group in groups.values() for pair in group]
    judged = [name for name in groups if len(groups[name]) >= max(config.min_turns, 1)]
    mistakes = {name: _test_mistakes(groups[name], config=config, seed=seed) for name in judged}
    doubts = {name: _test_doubts(groups[name], config=config, seed=seed) for name in judged}
    asked = [test for tests in (mistakes, doubts) for test in tests.values() if test is not None]
    worst = dict(zip(map(id, asked), holm([test.p_worse for test in asked]), strict=True))

    def passes(test: PairedTest | None) -> bool:
        if test is None:
            return True
        if config.burden is GateBurden.SAFETY:
            return test.p_safe <= config.level
        return worst[id(test)] > config.level

    return tuple(
        _verdict(
            name,
            pairs=pairs,
            accepted=passes(mistakes.get(name)) and passes(doubts.get(name)),
            mistakes=mistakes.get(name),
            doubts=doubts.get(name),
            p_won=_p_won(pairs, config=config, seed=seed) if name in mistakes else math.nan,
        )
        for name, pairs in groups.items()
    )


def _test_mistakes(
    pairs: Sequence[tuple[TurnScore, TurnScore]], *, config: GateConfig, seed: int
) -> PairedTest:
    differences = [a.exact - b.exact for a, b in pairs]
    lost, gained = differences.count(1), differences.count(-1)
    if config.test is GateTest.MCNEMAR:
        return mcnemar(lost=lost, gained=gained, num=len(pairs), margin=config.margin)
    if config.test is GateTest.DROP:
        return _seen((lost - gained) / len(pairs), margin=config.margin)
    clusters = [a.trajectory_id for a, _ in pairs]
    return cluster_bootstrap(differences, clusters=clusters, margin=config.margin, seed=seed)


def _p_won(pairs: Sequence[tuple[TurnScore, TurnScore]], *, config: GateConfig, seed: int) -> float:
    """The live model's test against the candidate, without a margin."""
    swapped = [(b, a) for a, b in pairs]
    return _test_mistakes(swapped, config=replace(config, margin=0.0), seed=seed).p_worse


def is_worth_it(verdict: GateVerdict, *, config: GateConfig) -> bool | None:
    """Whether safety of the past or a win on fresh turns is shown; two questions, one level."""
    whole, fresh = verdict.whole, verdict.fresh
    if whole is None or fresh is None or whole.abstained or fresh.abstained:
        return None
    return min(holm([whole.p_harmless, fresh.p_won])) <= config.level


def _test_doubts(
    pairs: Sequence[tuple[TurnScore, TurnScore]], *, config: GateConfig, seed: int
) -> PairedTest | None:
    """Of the loss, which has no counts to be exact about; None where a model tells none."""
    losses = [(a.loss, b.loss) for a, b in pairs]
    rises = [new - old for old, new in losses if old is not None and new is not None]
    if len(rises) < len(pairs):
        return None
    if config.test is GateTest.DROP:
        return _seen(sum(rises) / len(rises), margin=config.loss_margin)
    clusters = [a.trajectory_id for a, _ in pairs]
    return cluster_bootstrap(rises, clusters=clusters, margin=config.loss_margin, seed=seed)


def _seen(drop: float, *, margin: float) -> PairedTest:
    """No test: what was seen is taken for the truth."""
    fell = drop > margin + _SLACK
    return PairedTest(drop=drop, p_worse=float(not fell), p_safe=float(fell))


def _verdict(
    name: str,
    *,
    pairs: Sequence[tuple[TurnScore, TurnScore]],
    accepted: bool,
    mistakes: PairedTest | None,
    doubts: PairedTest | None,
    p_won: float,
) -> ExperienceVerdict:
    """Both tests are None where there are too few turns."""
    return ExperienceVerdict(
        experience=name,
        accepted=accepted,
        abstained=mistakes is None,
        num_turns=len(pairs),
        num_episodes=len({a.trajectory_id for a, _ in pairs}),
        old_em=_rate([a for a, _ in pairs]),
        new_em=_rate([b for _, b in pairs]),
        lost=sum(a.exact and not b.exact for a, b in pairs),
        gained=sum(b.exact and not a.exact for a, b in pairs),
        p_worse=mistakes.p_worse if mistakes else math.nan,
        p_safe=mistakes.p_safe if mistakes else math.nan,
        loss_rise=doubts.drop if doubts else math.nan,
        p_doubt=doubts.p_worse if doubts else math.nan,
        p_sure=doubts.p_safe if doubts else math.nan,
        p_won=p_won,
    )


def _rate(scores: Sequence[TurnScore]) -> float:
    return sum(score.exact for score in scores) / len(scores) if scores else math.nan


__all__ = ["ALL", "FRESH", "ExperienceVerdict", "GateVerdict", "is_worth_it", "judge"]
