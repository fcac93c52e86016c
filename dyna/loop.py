"""The Dyna loop: act, remember, model, imagine, improve, evaluate.

    real experience -> replay -> world-model update -> imagined experience -> policy update

The loop knows the seams of `dyna.protocols` and a `Crew` that plays episodes, and nobody's name:
it runs the same with tables, with language models in one process, and on a cluster of actors.
Sutton, "Dyna, an integrated architecture for learning, planning, and reacting" (1991).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from dyna.config import ImaginationConfig
from dyna.imagination import Dream, plan_dreams
from dyna.ledger import Ledger
from dyna.protocols import (
    HasExperiences,
    HasMemory,
    HasVariations,
    PolicyLearner,
    ReplayBuffer,
    World,
    WorldModelLearner,
)
from dyna.rollout import EpisodeSpec, check_policies, gather_groups
from dyna.seeding import derive_seed
from dyna.starts import draw_starts
from dyna.stream import Stream, split_of
from dyna.streaming import DreamStream
from dyna.summary import summarize
from dyna.types import Metrics, Source, Trajectory, TrajectoryGroup


class Crew(Protocol):
    """Plays episodes, here or on other machines. Results come in the order of what was asked."""

    def play(self, specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
        """Play in the real world; `spec.behavior` says who acts."""
        ...

    def imagine(self, dreams: Sequence[Dream]) -> list[Trajectory]:
        """Play the current policy in the current world model."""
        ...

    def stream(self, dreams: Sequence[Dream], *, groups_per_update: int) -> DreamStream:
        """Play them while the policy learns; groups come as they finish, in no other order."""
        ...

    def share_policy(self) -> None:
        """Give every player the learned policy; returns when all have it."""
        ...

    def share_model(self) -> None:
        """Give every player the live world model; returns when all have it."""
        ...


@runtime_checkable
class HasMetrics(Protocol):
    """A crew with machines to report on: actors that came and went, engines and their speed."""

    def metrics(self) -> Metrics: ...


class Journal(Protocol):
    """Keeps real experience from the moment it was made, so that a crash never spends it twice."""

    def read(self, round: int) -> list[Trajectory] | None:
        """What was played of the round before; None or only some of it where a run was cut."""
        ...

    def write(self, round: int, trajectories: Sequence[Trajectory]) -> None:
        """The round's real episodes, all of them."""
        ...


class Evaluator(Protocol):
    """Measures policy and model on held-out tasks; nothing it sees is learned from."""

    def evaluate(self, round: int) -> Metrics: ...


class DriftWatch(Protocol):
    """Finds out by itself where an experience begins, and tells those who want to know."""

    def observe(self, fresh: Sequence[Trajectory]) -> Metrics:
        """Before a model or a buffer has seen them."""
        ...


class Rehearser(Protocol):
    """Keeps the policy's old skills when it learns something new."""

    def rehearse(self, round: int) -> Metrics:
        """Before an experience is learned: practice what came before it."""
        ...

    def beside(self, shown: Sequence[Trajectory], *, round: int) -> list[Trajectory]:
        """What is cloned: the new demonstrations `shown`, and old successes."""
        ...


class Alarm(Protocol):
    """Stops imagination where the policy exploits its model."""

    def begin_experience(self, name: str) -> None: ...

    def allows_dreams(self) -> bool: ...

    def verify(
        self,
        round: int,
        *,
        act: Callable[[Sequence[EpisodeSpec]], Sequence[Trajectory]],
        affordable: int,
    ) -> Metrics:
        """After dreams: play some tasks in both worlds; `act` spends up to `affordable` real
        episodes."""
        ...


class Watch(Protocol):
    """Shows what goes on."""

    def phase(self, name: str, *, total: int) -> AbstractContextManager[None]: ...


class SilentWatch:
    def phase(self, name: str, *, total: int) -> AbstractContextManager[None]:
        return nullcontext()


@dataclass(kw_only=True)
class DynaLoop:
    """One run of Dyna: through the experiences of its stream, each with an opening and rounds."""

    world: World
    crew: Crew
    replay: ReplayBuffer
    model_learner: WorldModelLearner
    policy_learner: PolicyLearner
    ledger: Ledger
    evaluator: Evaluator
    stream: Stream
    """What is learned after what, and what may be spent on it in the real world."""
    imagination: ImaginationConfig
    seed: int
    max_real_steps: int = 0
    """Real steps that may be spent in all; 0 means any number."""
    max_turns: int = 20
    """Turns of one real episode, so that a round never outspends the budget."""
    first_task: int = 0
    """Where in the train split this run's tasks begin."""
    evaluate_every: int = 1
    journal: Journal | None = None
    drift: DriftWatch | None = None
    """Finds where experiences begin; without one they are told."""
    rehearser: Rehearser | None = None
    alarm: Alarm | None = None
    watch: Watch = field(default_factory=SilentWatch)

    def run(self, *, first_round: int, last_round: int) -> Iterator[tuple[int, Metrics]]:
        """Yield (round, metrics) after each; at that moment the whole state may be saved."""
        for round in range(first_round, last_round + 1):
            opens = self.stream.at(round).is_opening
            metrics = self.begin(round) if opens else self.play_round(round)
            if round == last_round or self._is_measured(round):
                with self._phase("evaluate"):
                    metrics |= self.evaluator.evaluate(round)
            yield round, metrics | self._memory() | self.ledger.metrics()

    def play_opening(self, round: int = 0) -> tuple[list[Trajectory], Metrics]:
        """The real episodes before anything is learned: demonstrations and exploration."""
        real = self.stream.at(round).experience.real
        specs = self._specs(round, "expert", num=real.demonstrations)
        specs += self._specs(round, "exploration", num=real.explorations, num_planned=len(specs))
        return self._act_and_remember(round, specs)

    def begin(self, round: int = 0) -> Metrics:
        """Round 0 of an experience: demonstrations, exploration, first learning."""
        old = self._rehearse(round)
        name = self.stream.at(round).experience.name
        if name and self.drift is None:
            for part in (self.replay, self.model_learner, self.policy_learner):
                if isinstance(part, HasExperiences):
                    part.begin_experience(name)
        if self.alarm is not None:
            self.alarm.begin_experience(name)
        real, metrics = self.play_opening(round)
        metrics |= old | self._learn_model(real)
        with self._phase("imitate"):
            shown = [t for t in real if t.behavior == "expert" and not t.stop.is_failure]
            if self.rehearser is not None:
                shown = self.rehearser.beside(shown, round=round)
            metrics |= self.policy_learner.imitate(shown)
            self.crew.share_policy()
        return metrics

    def play_round(self, round: int) -> Metrics:
        own = self.stream.at(round).experience.real
        specs = self._specs(round, "policy", num=own.episodes_per_round, group_size=own.group_size)
        real, metrics = self._act_and_remember(round, specs)
        metrics |= self._learn_model(real)
        metrics |= self._improve(gather_groups(real))
        return metrics | self._dream(round)

    def _act_and_remember(
        self, round: int, specs: Sequence[EpisodeSpec]
    ) -> tuple[list[Trajectory], Metrics]:
        """Play `specs` in the real world; the ledger and the buffer take each episode once."""
        with self._phase("act", total=len(specs)):
            kept = self.journal.read(round) if self.journal else None
            found = {trajectory.id: trajectory for trajectory in kept or ()}
            played = self.crew.play([spec for spec in specs if spec.episode_id not in found])
            found |= {trajectory.id: trajectory for trajectory in played}
            real = [found.pop(spec.episode_id) for spec in specs]
            check_policies(real)
            if self.journal:
                # What else is known of the round stays, such as what an alarm has spent.
                self.journal.write(round, [*real, *found.values()])
            whole = [trajectory for trajectory in real if not trajectory.stop.is_failure]
            metrics = self.drift.observe(whole) if self.drift else {}
            for trajectory in real:
                self.ledger.enter(trajectory)
            for trajectory in whole:
                self.replay.add(trajectory)
        return real, metrics | summarize(real, source=Source.REAL)

    def _rehearse(self, round: int) -> Metrics:
        if self.rehearser is None:
            return {}
        with self._phase("rehearse"):
            return self.rehearser.rehearse(round)

    def _learn_model(self, real: Sequence[Trajectory]) -> Metrics:
        with self._phase("model"):
            fresh = [t for t in real if not t.stop.is_failure]
            metrics = self.model_learner.update(fresh, self.replay)
            self.crew.share_model()
        return metrics

    def _dream(self, round: int) -> Metrics:
        """Imagine, the policy learning from some of its dreams before it has the others."""
        config = self.imagination
        if not config.episodes_per_round or not len(self.replay):
            return {}
        if self.alarm is not None and not self.alarm.allows_dreams():
            return {"alarm/tripped": 1.0}
        num_groups = -(-config.episodes_per_round // config.group_size)
        dreams = plan_dreams(
            draw_starts(
                self.replay,
                num=num_groups,
                max_turns=self.max_turns,
                balance=config.balance_tasks,
                seed=self.seed,
                round=round,
            ),
            num=config.episodes_per_round,
            group_size=config.group_size,
            branch_fraction=config.branch_fraction,
            new_task_fraction=config.new_task_fraction,
            vary=self.world.vary if isinstance(self.world, HasVariations) else None,
            seed=self.seed,
            round=round,
        )
        groups_per_update = -(-num_groups // max(config.batches_per_round, 1))
        dream = self._dream_while_learning if config.max_staleness else self._dream_by_turns
        dreamt, metrics = dream(dreams, groups_per_update=groups_per_update)
        return metrics | summarize(dreamt, source=Source.IMAGINED) | self._verify(round)

    def _verify(self, round: int) -> Metrics:
        if self.alarm is None:
            return {}

        def act(specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
            return self._act_and_remember(round, specs)[0]

        with self._phase("verify"):
            return self.alarm.verify(round, act=act, affordable=self._affordable())

    def _dream_by_turns(
        self, dreams: Sequence[Dream], *, groups_per_update: int
    ) -> tuple[list[Trajectory], Metrics]:
        """In lock step: a batch is imagined, then learned from, then comes the next."""
        dreamt: list[Trajectory] = []
        metrics = Metrics()
        per_batch = groups_per_update * self.imagination.group_size
        for first in range(0, len(dreams), per_batch):
            batch = dreams[first : first + per_batch]
            with self._phase("imagine", total=len(batch)):
                imagined = self.crew.imagine(batch)
            metrics |= self._learn_from_dreams(imagined)
            dreamt += imagined
        return dreamt, metrics

    def _dream_while_learning(
        self, dreams: Sequence[Dream], *, groups_per_update: int
    ) -> tuple[list[Trajectory], Metrics]:
        """Asynchronously: as soon as enough groups for an update have ended, whichever they are."""
        dreamt: list[Trajectory] = []
        metrics = Metrics()
        per_batch = groups_per_update * self.imagination.group_size
        with closing(self.crew.stream(dreams, groups_per_update=groups_per_update)) as stream:
            while True:
                with self._phase("imagine", total=per_batch):
                    imagined = stream.take()
                if not imagined:
                    break
                metrics |= self._learn_from_dreams(imagined)
                dreamt += imagined
        for trajectory in stream.stale:
            self.ledger.enter(trajectory)
        return dreamt + stream.stale, metrics | stream.metrics()

    def _learn_from_dreams(self, imagined: Sequence[Trajectory]) -> Metrics:
        check_policies(imagined)
        for trajectory in imagined:
            self.ledger.enter(trajectory)
        return self._improve(gather_groups(imagined))

    def _improve(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        with self._phase("improve"):
            metrics = self.policy_learner.update(groups)
            self.crew.share_policy()
        return metrics

    def _specs(
        self, round: int, behavior: str, *, num: int, group_size: int = 1, num_planned: int = 0
    ) -> list[EpisodeSpec]:
        """Real episodes to play: as many of `num` as the budget surely allows, in whole groups."""
        num = min(num, self._affordable() - num_planned)
        tasks = self.world.tasks(
            split=split_of(self.stream.at(round).experience.name, split="train"),
            num=max(0, num // group_size),
            offset=self.first_task + self._tasks_before(round, behavior),
        )
        return [
            EpisodeSpec(
                task=task,
                episode_id=f"round{round}/{behavior}{index}/{member}",
                group_id=f"round{round}/{behavior}{index}",
                seed=derive_seed(self.seed, "real", round, behavior, index, member),
                behavior=behavior,
                round=round,
            )
            for index, task in enumerate(tasks)
            for member in range(group_size)
        ]

    def _affordable(self) -> int:
        """Episodes that fit what is left of the budget, however long each of them gets."""
        if not self.max_real_steps:
            return 10**9
        return max(0, self.max_real_steps - self.ledger.real_steps) // self.max_turns

    def _tasks_before(self, round: int, behavior: str) -> int:
        """Tasks of the experience's train split that its earlier rounds and behaviors took."""
        place = self.stream.at(round)
        real = place.experience.real
        if behavior == "expert":
            return 0
        if behavior == "exploration":
            return real.demonstrations
        per_round = real.episodes_per_round // real.group_size
        return real.demonstrations + real.explorations + (place.round - 1) * per_round

    def _memory(self) -> Metrics:
        """What is kept of the past, wherever it is kept; nothing where nobody tells."""
        held = [
            part.num_bytes
            for part in (self.replay, self.model_learner, self.policy_learner)
            if isinstance(part, HasMemory)
        ]
        return {"real/memory_bytes": float(sum(held))} if held else {}

    def _is_measured(self, round: int) -> bool:
        """Every experience of a stream is measured at the end of each; a run of one world, every
        few rounds."""
        if self.stream.is_continual:
            return self.stream.at(round).is_last
        return round % max(self.evaluate_every, 1) == 0

    @contextmanager
    def _phase(self, name: str, *, total: int = 0) -> Generator[None]:
        with self.ledger.phase(name), self.watch.phase(name, total=total):
            yield
