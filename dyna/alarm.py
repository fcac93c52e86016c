"""The alarm: stops imagination when what is won in dreams is not won in the world.

A policy that finds an error of its model which pays is trained to repeat it: imagined success
rises while real success does not. So after each round's dreams a few tasks are played twice, by
the same policy with the same seeds, in the real world and in the model, and a sequential test
(`dyna.evaluation.sequential`) weighs the differences. A round that looks bad is followed up at
once; weights that still look bad do not go live, the policy goes back to the newest ones that were
verified. When the test trips, nothing more is imagined until the scope ends. What it cost in real
steps is in the ledger.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dyna.config import AlarmConfig, AlarmScope
from dyna.evaluation.sequential import Evidence, gap_evidence
from dyna.files import DamagedFileError, read_json, write_json
from dyna.imagination import Dream
from dyna.ledger import Ledger
from dyna.loop import Crew
from dyna.protocols import KeepsWeights, PolicyLearner, ReplayBuffer
from dyna.rollout import EpisodeSpec, check_policies
from dyna.seeding import derive_seed
from dyna.starts import draw_starts, skill_of
from dyna.types import Metrics, StopReason, Task, Trajectory

_log = logging.getLogger(__name__)

_FORMAT = "dyna-alarm-1"
_UNKNOWN = (StopReason.UNTRUSTED, StopReason.UNPARSEABLE)
_NUM_NAMED = 5
"""Tasks that a report of a trip names; all are in the alarm's state."""

Act = Callable[[Sequence[EpisodeSpec]], Sequence[Trajectory]]
"""Plays in the real world; the episodes are remembered and entered in the ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One task, played by one policy in both worlds."""

    task: str
    skill: str
    imagined: bool
    """Won in the dream."""
    real: bool
    """Won in the real world, in no more turns than a dream may take."""

    @property
    def difference(self) -> float:
        return float(self.imagined) - float(self.real)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """Why imagination stopped."""

    round: int
    experience: str
    gap: float
    """Imagined less real success over the pairs of that round."""
    imagined: float
    real: float
    """Success over the pairs of that round."""
    first_imagined: float
    first_real: float
    """The same in the first round that was watched."""
    wealth: float
    """Evidence; the alarm trips at 1 / level."""
    pairs: int
    skills: dict[str, int]
    """By experience or family, the dreams of that round that were won and not confirmed."""
    tasks: list[str]
    """Theirs."""

    def __str__(self) -> str:
        named = ", ".join(self.tasks[:_NUM_NAMED])
        more = f" and {len(self.tasks) - _NUM_NAMED} more" if len(self.tasks) > _NUM_NAMED else ""
        where = f" of experience {self.experience!r}" if self.experience else ""
        return (
            f"imagination stopped in round {self.round}{where}: the same tasks were won in "
            f"{self.imagined:.0%} of dreams and {self.real:.0%} of real episodes (in the first "
            f"round watched: {self.first_imagined:.0%} and {self.first_real:.0%}); evidence "
            f"{self.wealth:.3g} to 1 after {self.pairs} pairs; won in dreams alone: {named}{more}"
        )


@dataclass(kw_only=True)
class Alarm:
    """Watches one run; satisfies `dyna.loop.Alarm` and `Stateful`.

    Its policy learner must be a `KeepsWeights` to be put back; another one is left as it is.
    """

    crew: Crew
    replay: ReplayBuffer
    policy_learner: PolicyLearner
    ledger: Ledger
    config: AlarmConfig
    seed: int
    horizon: int
    """Turns of a dream at most."""
    max_turns: int
    """Of one real episode."""
    trips: list[Trip] = field(default_factory=list[Trip])
    """All of this run."""
    _rounds: list[list[Pair]] = field(init=False, default_factory=list[list[Pair]])
    """Of the present scope."""
    _experience: str = field(init=False, default="")
    _stopped: bool = field(init=False, default=False)
    _has_kept: bool = field(init=False, default=False)
    """Whether the policy learner holds weights of this experience to go back to."""

    def begin_experience(self, name: str) -> None:
        """Weights that knew nothing of it are no place to go back to."""
        self._experience = name
        self._has_kept = False
        if self.config.scope is AlarmScope.EXPERIENCE:
            self._rounds, self._stopped = [], False

    def allows_dreams(self) -> bool:
        """Asked before each round's dreams. The first time, the weights before them are kept."""
        if not self._stopped and not self._has_kept:
            self._keep()
        return not self._stopped

    def verify(self, round: int, *, act: Act, affordable: int) -> Metrics:
        """Play some tasks twice; keep the policy's weights or put it back, and stop if it must be.

        `affordable` bounds the real episodes. Weights are verified where the round's own gap is
        within the tolerance, and put back where it is not. A round of which nothing is known, for
        want of budget or of dreams that the model trusts, changes nothing.
        """
        pairs: list[Pair] = []
        self._rounds.append(pairs)
        most = min(
            max(self.config.max_episodes_per_round, self.config.episodes_per_round), affordable
        )
        tasks = self._tasks(round, num=most)
        evidence = self._evidence()
        num_played = 0
        while num_played < len(tasks):
            batch = tasks[num_played : num_played + self.config.episodes_per_round]
            pairs += self._play(batch, round=round, first=num_played, act=act)
            num_played += len(batch)
            evidence = self._evidence()
            if evidence.refutes(self.config.level) or _gap(pairs) <= self.config.tolerance:
                break
        is_bad = _gap(pairs) > self.config.tolerance
        if evidence.refutes(self.config.level):
            self._trip(round, evidence=evidence)
        if is_bad or self._stopped:
            self._put_back(round)
        elif pairs:
            self._keep()
        metrics = self._metrics(pairs, evidence=evidence)
        return metrics | {"alarm/put_back": float(is_bad or self._stopped)}

    def _tasks(self, round: int, *, num: int) -> list[Task]:
        """Of real episodes, drawn evenly over all skills: dreams start from such."""
        starts = draw_starts(
            self.replay,
            num=num,
            max_turns=self.max_turns,
            balance=True,
            seed=derive_seed(self.seed, "alarm"),
            round=round,
        )
        return [start.task for start in starts]

    def _play(self, tasks: Sequence[Task], *, round: int, first: int, act: Act) -> list[Pair]:
        """A pair for each task of which both outcomes are known."""
        specs = [
            EpisodeSpec(
                task=task,
                episode_id=f"round{round}/verify{index}",
                seed=derive_seed(self.seed, "verify", round, index),
                round=round,
            )
            for index, task in enumerate(tasks, start=first)
        ]
        real = act(specs)
        for trajectory in real:
            self.ledger.note_verification(trajectory)
        played = [(s, t) for s, t in zip(specs, real, strict=True) if not t.stop.is_failure]
        dreams = [Dream(spec=_dreamt(spec), start=trajectory.start) for spec, trajectory in played]
        imagined = self.crew.imagine(dreams)
        check_policies(imagined)
        for trajectory in imagined:
            self.ledger.enter(trajectory)
        return [
            Pair(
                task=true.task.id,
                skill=skill_of(true.task),
                imagined=dream.success,
                real=true.success and len(true.turns) <= self.horizon,
            )
            for (_, true), dream in zip(played, imagined, strict=True)
            # Where the model says that it does not know, it pays nothing either.
            if not dream.stop.is_failure and dream.stop not in _UNKNOWN
        ]

    def _evidence(self) -> Evidence:
        return gap_evidence(
            [[pair.difference for pair in pairs] for pairs in self._rounds],
            tolerance=self.config.tolerance,
        )

    def _trip(self, round: int, *, evidence: Evidence) -> None:
        pairs, first = self._rounds[-1], next(found for found in self._rounds if found)
        false_wins = [pair for pair in pairs if pair.imagined and not pair.real]
        trip = Trip(
            round=round,
            experience=self._experience,
            gap=_gap(pairs),
            imagined=_imagined(pairs),
            real=_real(pairs),
            first_imagined=_imagined(first),
            first_real=_real(first),
            wealth=evidence.peak,
            pairs=evidence.num_pairs,
            skills=dict(sorted(Counter(pair.skill for pair in false_wins).items())),
            tasks=sorted({pair.task for pair in false_wins}),
        )
        self.trips.append(trip)
        self._stopped = True
        _log.warning("%s", trip)

    def _put_back(self, round: int) -> None:
        if isinstance(self.policy_learner, KeepsWeights) and self._has_kept:
            self.policy_learner.restore_weights()
            self.crew.share_policy()
            _log.warning("round %d: the policy goes back to verified weights", round)

    def _keep(self) -> None:
        if isinstance(self.policy_learner, KeepsWeights):
            self.policy_learner.keep_weights()
        self._has_kept = True

    def _metrics(self, pairs: Sequence[Pair], *, evidence: Evidence) -> Metrics:
        metrics = {
            "alarm/pairs": float(len(pairs)),
            "alarm/evidence": evidence.wealth,
            "alarm/tripped": float(self._stopped),
            "alarm/trips": float(len(self.trips)),
        }
        if pairs:
            metrics |= {
                "alarm/imagined_success": _imagined(pairs),
                "alarm/real_success": _real(pairs),
                "alarm/gap": _gap(pairs),
            }
        return metrics

    def save(self, folder: str) -> None:
        state = {
            "format": _FORMAT,
            "experience": self._experience,
            "stopped": self._stopped,
            "has_kept": self._has_kept,
            "rounds": [[asdict(pair) for pair in pairs] for pairs in self._rounds],
            "trips": [asdict(trip) for trip in self.trips],
        }
        write_json(Path(folder) / "alarm.json", value=state)

    def load(self, folder: str) -> None:
        """Restore what `save` wrote; raises `DamagedFileError` for anything else."""
        path = Path(folder) / "alarm.json"
        state: dict[str, Any] = read_json(path)
        try:
            if state["format"] != _FORMAT:
                raise ValueError(f"its format is {state['format']!r}")
            rounds = [[Pair(**pair) for pair in pairs] for pairs in state["rounds"]]
            trips = [Trip(**trip) for trip in state["trips"]]
            stopped, has_kept = bool(state["stopped"]), bool(state["has_kept"])
            experience = str(state["experience"])
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedFileError(
                f"{str(path)!r} is no state of an alarm ({error!r}); restore an older one"
            ) from error
        self._rounds, self.trips = rounds, trips
        self._stopped, self._has_kept, self._experience = stopped, has_kept, experience


def _dreamt(spec: EpisodeSpec) -> EpisodeSpec:
    """The same episode, played in the model."""
    return EpisodeSpec(
        task=spec.task,
        episode_id=f"{spec.episode_id}/dream",
        seed=spec.seed,
        round=spec.round,
    )


def _imagined(pairs: Sequence[Pair]) -> float:
    return sum(pair.imagined for pair in pairs) / len(pairs)


def _real(pairs: Sequence[Pair]) -> float:
    return sum(pair.real for pair in pairs) / len(pairs)


def _gap(pairs: Sequence[Pair]) -> float:
    """0 over none: nothing was believed, nothing was wrong."""
    return _imagined(pairs) - _real(pairs) if pairs else 0.0


__all__ = ["Alarm", "Pair", "Trip"]
