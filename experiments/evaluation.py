"""Measures a run on held-out tasks: the policy in the real world and in the model, side by side.

Nothing that is played here is learned from. The ledger enters it under accounts of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path

from agents.scripted import ReplayPolicy
from dyna.config import EvaluationConfig
from dyna.evaluation.fidelity import TurnScore, fidelity_metrics, rate
from dyna.evaluation.intervals import wilson
from dyna.evaluation.policies import exploitation_gap, scored, success_by_task
from dyna.imagination import Dream
from dyna.ledger import Ledger
from dyna.loop import Crew
from dyna.protocols import World
from dyna.replay.parquet import read_trajectories, write_trajectories
from dyna.rollout import EpisodeSpec, Limits, check_policies, play_episode
from dyna.seeding import derive_seed
from dyna.stream import experience_of
from dyna.types import Metrics, Source, StopReason, Trajectory
from experiments.viewing import differs

_MODEL_MEASURES = ("em", "reward_em", "termination_em", "em_invalid")
"""Of the world model, for each experience of a stream."""
Score = Callable[[Sequence[Trajectory]], list[TurnScore]]
"""One-step scores of the live world model on real episodes."""


@dataclass(kw_only=True)
class HeldOutEvaluator:
    """Plays the same held-out tasks every time, greedily; satisfies `dyna.loop.Evaluator`."""

    world: World
    crew: Crew
    ledger: Ledger
    config: EvaluationConfig
    seed: int
    step_timeout_s: float = math.inf
    """Of one real step, when a dream's actions are replayed in the real world."""
    score: Score | None = None
    """None where the world model has no one-step scores."""
    real: list[Trajectory] = field(default_factory=list[Trajectory])
    """The last evaluation's real episodes, by task."""
    imagined: list[Trajectory] = field(default_factory=list[Trajectory])
    """The same tasks, played in the model."""
    replayed: list[Trajectory] = field(default_factory=list[Trajectory])
    """What the real world answers to the actions of `imagined`, in its order."""
    _probes: list[Trajectory] = field(default_factory=list[Trajectory])
    """Real episodes full of mistakes, on which the world model is scored every time."""

    def evaluate(self, round: int) -> Metrics:
        """Play, score and enter it all in the ledger; a round that is measured twice pays twice."""
        name = self._free_name(round)
        self.real = self._play_real(round, name=name)
        metrics = _success_metrics(self.real, name="real")
        if self.config.imagined:
            self.imagined = self._play_imagined(round, name=name)
            self.replayed = self._replay()
            metrics |= _success_metrics(self.imagined, name="imagined")
            metrics["eval/exploitation_gap"] = _gap(self.imagined, real=self.real)
        scores = self.score(self.probes()) if self.score is not None else []
        metrics |= self._by_experience(scores)
        if self.score is not None:
            metrics |= fidelity_metrics(scores)
            on_policy = self.score(scored(self.real))
            metrics["model/em_on_policy"] = rate(score.exact for score in on_policy)
        if self.config.imagined:
            metrics |= _em_by_depth(self.imagined, replayed=self.replayed)
        return metrics

    def _by_experience(self, scores: Sequence[TurnScore]) -> Metrics:
        """`experience/<name>/...`: what a result matrix is made of; nothing outside a stream."""
        metrics: Metrics = {}
        probed = {probe.id: experience_of(probe.task) for probe in self._probes}
        for name in sorted({experience_of(t.task) for t in self.real} - {""}):
            real, dreamt = (
                [t for t in played if experience_of(t.task) == name]
                for played in (self.real, self.imagined if self.config.imagined else [])
            )
            found: Metrics = {"real_success": rate(success_by_task(real).values())}
            if dreamt:
                found["imagined_success"] = rate(success_by_task(dreamt).values())
                found["exploitation_gap"] = _gap(dreamt, real=real)
            own = [score for score in scores if probed[score.trajectory_id] == name]
            measured = fidelity_metrics(own, prefix="")
            found |= {measure: measured[f"/{measure}"] for measure in _MODEL_MEASURES if own}
            metrics |= {f"experience/{name}/{key}": value for key, value in found.items()}
        return metrics

    def probes(self) -> list[Trajectory]:
        """Held-out episodes of the exploring behavior; played once in a run."""
        if not self._probes and self.config.fidelity_episodes:
            tasks = self.world.tasks(
                split=self.config.split,
                num=self.config.fidelity_episodes,
                offset=self.config.first_task + self.config.num_tasks,
            )
            self._probes = self.crew.play(
                [
                    EpisodeSpec(
                        task=task,
                        episode_id=f"probe/{index}",
                        seed=derive_seed(self.seed, "probe", index),
                        behavior="exploration",
                    )
                    for index, task in enumerate(tasks)
                ]
            )
            for trajectory in self._probes:
                self.ledger.enter(trajectory, evaluation=True)
        return self._probes

    def save(self, folder: str) -> None:
        write_trajectories(Path(folder) / "probes.parquet", self._probes)

    def load(self, folder: str) -> None:
        self._probes = list(read_trajectories(Path(folder) / "probes.parquet"))

    def _free_name(self, round: int) -> str:
        """Of an evaluation that is not in the ledger yet."""
        again = (f"evaluation{round}.{number}" for number in count(1))
        names = chain([f"evaluation{round}"], again)
        return next(name for name in names if f"{name}/0" not in self.ledger)

    def _play_real(self, round: int, *, name: str) -> list[Trajectory]:
        tasks = self.world.tasks(
            split=self.config.split, num=self.config.num_tasks, offset=self.config.first_task
        )
        played = self.crew.play(
            [
                EpisodeSpec(
                    task=task,
                    episode_id=f"{name}/{index}",
                    seed=derive_seed(self.seed, "evaluation", index),
                    greedy=True,
                    round=round,
                )
                for index, task in enumerate(tasks)
            ]
        )
        check_policies(played)
        for trajectory in played:
            self.ledger.enter(trajectory, evaluation=True)
        return played

    def _play_imagined(self, round: int, *, name: str) -> list[Trajectory]:
        dreams = [
            Dream(
                spec=EpisodeSpec(
                    task=trajectory.task,
                    episode_id=f"{name}/dream{index}",
                    seed=derive_seed(self.seed, "evaluation", index),
                    greedy=True,
                    round=round,
                ),
                start=trajectory.start,
            )
            for index, trajectory in enumerate(scored(self.real))
        ]
        dreamt = self.crew.imagine(dreams)
        for trajectory in dreamt:
            self.ledger.enter(trajectory, evaluation=True)
        return dreamt

    def _replay(self) -> list[Trajectory]:
        replayed = replay_in_world(
            self.imagined, world=self.world, step_timeout_s=self.step_timeout_s
        )
        for trajectory in replayed:
            self.ledger.enter(trajectory, evaluation=True)
        return replayed


def _gap(imagined: Sequence[Trajectory], *, real: Sequence[Trajectory]) -> float:
    """Imagined less real success on the tasks that were scored in both."""
    dreamt, true = success_by_task(imagined), success_by_task(real)
    both = dreamt.keys() & true.keys()
    return exploitation_gap(
        imagined={task: dreamt[task] for task in both}, real={task: true[task] for task in both}
    )


def replay_in_world(
    trajectories: Sequence[Trajectory], *, world: World, step_timeout_s: float
) -> list[Trajectory]:
    """The actions of dreams, given open-loop to the real world from the same tasks (W2R)."""

    async def play_all() -> list[Trajectory]:
        return [
            await play_episode(
                EpisodeSpec(task=dream.task, episode_id=f"{dream.id}/replayed"),
                policy=ReplayPolicy([turn.action.command for turn in dream.turns]),
                env=world.make(),
                limits=Limits(max_turns=max(len(dream.turns), 1), step_timeout_s=step_timeout_s),
                source=Source.REAL,
            )
            for dream in trajectories
        ]

    return asyncio.run(play_all())


def _em_by_depth(dreams: Sequence[Trajectory], *, replayed: Sequence[Trajectory]) -> Metrics:
    """`model/em_depth/<d>`: of the d-th predictions of a dream, the share that the real world
    confirms. A prediction that ended its dream as untrusted or unreadable was not believed."""
    right: dict[int, list[bool]] = {}
    for dream, truth in zip(dreams, replayed, strict=True):
        for depth, (turn, real) in enumerate(zip(dream.turns, truth.turns, strict=False), start=1):
            if turn.outcome.stop in (StopReason.UNTRUSTED, StopReason.UNPARSEABLE):
                break
            right.setdefault(depth, []).append(not differs(turn.outcome, real.outcome))
    return {f"model/em_depth/{depth}": rate(flags) for depth, flags in sorted(right.items())}


def _success_metrics(trajectories: Sequence[Trajectory], *, name: str) -> Metrics:
    outcomes = list(success_by_task(trajectories).values())
    if not outcomes:
        return {f"eval/{name}_episodes": 0.0}
    interval = wilson(sum(outcomes), num=len(outcomes))
    turns = [len(t.turns) for t in scored(trajectories)]
    return {
        f"eval/{name}_episodes": float(len(outcomes)),
        f"eval/{name}_success": sum(outcomes) / len(outcomes),
        f"eval/{name}_success_low": interval.low,
        f"eval/{name}_success_high": interval.high,
        f"eval/{name}_turns": sum(turns) / len(turns),
    }
