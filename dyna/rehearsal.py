"""Rehearsal: before something new is learned, the old policy dreams the old tasks once more.

Replay of real experience keeps the world model from forgetting, but not the policy: cloning new
demonstrations overwrites what it could. So its own winning dreams of old tasks, and the real
successes that the buffer still holds, are cloned beside them. A dream is kept only if the model
trusted every step of it and its outcome is known: a win with an ending that passed the checks in
code. Kept dreams may teach the world model as well, which is generative replay (Shin et al.,
"Continual Learning with Deep Generative Replay", 2017, arXiv 1705.08690).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from dyna.config import RehearsalConfig
from dyna.imagination import Dream, plan_dreams
from dyna.ledger import Ledger
from dyna.loop import Crew
from dyna.protocols import HasExperiences, HasVariations, ReplayBuffer, World
from dyna.rollout import check_policies
from dyna.seeding import derive_seed, generator
from dyna.starts import draw_real, group_by_skill
from dyna.types import Metrics, Source, StopReason, Trajectory

_DRAWS_PER_DREAM = 16
"""Real episodes drawn for each dream of a skill, over all skills."""


def grade(
    dreams: Iterable[Trajectory], *, min_confidence: float = 0.0, min_win_confidence: float = 0.0
) -> list[Trajectory]:
    """The dreams worth keeping, each way of doing a task once, marked as rehearsed.

    A dream is kept if it won and ended so, began at a start, and every prediction in it was at
    least as sure as `min_confidence`, that of the win as `min_win_confidence`.
    """
    kept: dict[tuple[str, ...], Trajectory] = {}
    for dream in dreams:
        if not dream.success or dream.stop is not StopReason.TERMINATED or dream.branch_point:
            continue
        last = dream.turns[-1].outcome
        surest = min(turn.outcome.confidence for turn in dream.turns)
        if last.terminated and surest >= min_confidence and last.confidence >= min_win_confidence:
            way = (dream.task.id, *(turn.action.command for turn in dream.turns))
            kept.setdefault(way, replace(dream, source=Source.REHEARSED))
    return list(kept.values())


@dataclass(kw_only=True)
class Rehearsal:
    """Keeps old skills beside a new experience; satisfies `dyna.loop.Rehearser`.

    It has no state of its own between rounds: what is cloned the policy learner remembers, what is
    replayed the buffer holds.
    """

    world: World
    crew: Crew
    replay: ReplayBuffer
    ledger: Ledger
    config: RehearsalConfig
    seed: int
    max_turns: int
    """Of one real episode."""
    _old: dict[str, list[Trajectory]] = field(
        init=False, default_factory=dict[str, list[Trajectory]]
    )
    """By skill, what may be cloned again."""

    def rehearse(self, round: int) -> Metrics:
        """Dream old tasks with the policy and the model as they are now, and keep the good ones.

        With nothing in the buffer there is nothing old, and nothing happens.
        """
        self._old = {}
        if not self.config.episodes or not len(self.replay):
            return {}
        known = group_by_skill(self._episodes())
        dreams = self._plan(known, round=round)
        dreamt = self.crew.imagine(dreams)
        check_policies(dreamt)
        for trajectory in dreamt:
            self.ledger.enter(trajectory)
        kept = grade(
            dreamt,
            min_confidence=self.config.min_confidence,
            min_win_confidence=self.config.min_win_confidence,
        )
        self._old = group_by_skill(kept)
        if self.config.into_model:
            self._teach_model()
        if self.config.real:
            for skill, episodes in known.items():
                self._old.setdefault(skill, []).extend(t for t in episodes if t.success)
        metrics = {"rehearsal/dreams": float(len(dreamt)), "rehearsal/kept": float(len(kept))}
        return metrics | {f"rehearsal/{k}/old_wins": float(len(v)) for k, v in self._old.items()}

    def beside(self, shown: Sequence[Trajectory], *, round: int) -> list[Trajectory]:
        """What the policy clones: the new demonstrations, and an even share of every old skill.

        Dreams and real successes of a skill take turns, as long as there are both.
        """
        most = math.ceil(self.config.share * len(shown)) if shown else self.config.episodes
        beside = list(shown)
        for skill in sorted(self._old):
            known = self._old[skill]
            order: list[int] = (
                generator(self.seed, "rehearsed", round, skill).permutation(len(known)).tolist()
            )
            dreamt, real = (
                [known[place] for place in order if (known[place].source is Source.REAL) is is_real]
                for is_real in (False, True)
            )
            taken = [t for pair in zip_longest(dreamt, real) for t in pair if t is not None]
            beside += taken[:most]
        return beside

    def _episodes(self) -> list[Trajectory]:
        """Real episodes of every old skill, each once: what is dreamt from and, where won, cloned.

        Several times as many are drawn as are dreamt of, to meet what the buffer holds little of.
        """
        num = _DRAWS_PER_DREAM * self.config.episodes
        drawn = draw_real(self.replay, num=num, max_turns=self.max_turns)
        return list({trajectory.id: trajectory for trajectory in drawn}.values())

    def _plan(self, known: Mapping[str, Sequence[Trajectory]], *, round: int) -> list[Dream]:
        return [
            dream
            for index, skill in enumerate(sorted(known))
            for dream in plan_dreams(
                known[skill],
                num=self.config.episodes,
                group_size=1,
                new_task_fraction=self.config.new_task_fraction,
                vary=self.world.vary if isinstance(self.world, HasVariations) else None,
                seed=derive_seed(self.seed, "rehearsal", skill),
                round=round,
                name=f"rehearsal{index}/dream",
            )
        ]

    def _teach_model(self) -> None:
        """Each kept dream enters the buffer under the experience that it is of."""
        for skill in sorted(self._old):
            if isinstance(self.replay, HasExperiences):
                self.replay.begin_experience(skill)
            for trajectory in self._old[skill]:
                self.replay.add(trajectory)


__all__ = ["Rehearsal", "grade"]
