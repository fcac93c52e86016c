"""The loop through its seams, with tables for learners: who is called when, and what is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from agents.tabular import TabularPolicy
from dyna.config import ImaginationConfig, RealConfig
from dyna.envs.corridor import CorridorEnv, CorridorWorld
from dyna.ledger import Ledger
from dyna.loop import Crew, DynaLoop
from dyna.replay import ReservoirBuffer
from dyna.rollout import EpisodeSpec
from dyna.types import (
    Action,
    Metrics,
    Outcome,
    Source,
    StopReason,
    Task,
    Trajectory,
    TrajectoryGroup,
)
from tests.golden.dyna_q import make_loop

DREAMS = ImaginationConfig(
    episodes_per_round=6, batches_per_round=2, group_size=3, horizon=4, branch_fraction=0.5
)


@dataclass
class Diary:
    """Watches, evaluates and keeps a journal, writing down in which order it was asked to."""

    events: list[str] = field(default_factory=list[str])
    kept: dict[int, list[Trajectory]] = field(default_factory=dict[int, list[Trajectory]])

    @contextmanager
    def phase(self, name: str, *, total: int) -> Iterator[None]:
        self.events.append(name)
        yield

    def evaluate(self, round: int) -> Metrics:
        return {"eval/round": float(round)}

    def read(self, round: int) -> list[Trajectory] | None:
        return self.kept.get(round)

    def write(self, round: int, trajectories: Sequence[Trajectory]) -> None:
        self.events.append("write")
        self.kept[round] = list(trajectories)


class Student(TabularPolicy):
    """Remembers what it was taught."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Trajectory] = []
        self.lessons: list[list[TrajectoryGroup]] = []

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        self.shown += demonstrations
        return {}

    def update(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        self.lessons.append(list(groups))
        return super().update(groups)


class FragileWorld(CorridorWorld):
    """Breaks down when a task whose number is divisible by three is played."""

    def make(self) -> CorridorEnv:
        return FragileEnv(self.way, max_turns=30)


class FragileEnv(CorridorEnv):
    breaks = False

    async def reset(self, task: Task) -> Any:
        self.breaks = task.seed % 3 == 0
        return await super().reset(task)

    async def step(self, action: Action) -> Outcome:
        if self.breaks:
            raise OSError("the corridor is flooded")
        return await super().step(action)


class Registrar:
    """A crew around another one that writes down which real episodes it was asked for."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self.asked: list[str] = []
        self.imagine = crew.imagine
        self.stream = crew.stream
        self.share_policy = crew.share_policy
        self.share_model = crew.share_model

    def play(self, specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
        self.asked += [spec.episode_id for spec in specs]
        return self._crew.play(specs)


def played(loop: DynaLoop, *, rounds: int, first: int = 0) -> list[tuple[int, Metrics]]:
    return list(loop.run(first_round=first, last_round=rounds))


def stored(loop: DynaLoop) -> list[Trajectory]:
    assert isinstance(loop.replay, ReservoirBuffer)
    return list(loop.replay.trajectories())


def test_a_round_acts_remembers_models_improves_and_dreams_in_this_order() -> None:
    diary = Diary()
    loop = make_loop(
        real=RealConfig(demonstrations=2, explorations=2, episodes_per_round=2),
        imagination=DREAMS,
        on_share=diary.events.append,
        watch=diary,
        evaluator=diary,
        journal=diary,
    )
    played(loop, rounds=1)
    started = ["act", "write", "model", "share model", "imitate", "share policy", "evaluate"]
    real = ["act", "write", "model", "share model", "improve", "share policy"]
    dreamt = ["imagine", "improve", "share policy"] * 2
    assert diary.events == [*started, *real, *dreamt, "evaluate"]


def test_who_is_watched_is_charged_for_the_same_phases() -> None:
    loop = make_loop(imagination=DREAMS)
    (_, metrics) = played(loop, rounds=1)[-1]
    named = {name for name in metrics if name.startswith("time/") and not name.endswith("per_step")}
    assert named == {
        f"time/{phase}_s" for phase in ("act", "model", "imitate", "improve", "imagine", "evaluate")
    }


def test_without_imagination_nothing_is_dreamt() -> None:
    diary = Diary()
    loop = make_loop(num_imagined=0, watch=diary)
    results = played(loop, rounds=2)
    assert "imagine" not in diary.events
    assert all(metrics["ledger/imagined_steps"] == 0 for _, metrics in results)


@pytest.mark.parametrize("every, rounds", [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (9, [0, 5])])
def test_the_last_round_is_always_evaluated(every: int, rounds: list[int]) -> None:
    loop = make_loop(evaluator=Diary(), evaluate_every=every)
    assert [r for r, metrics in played(loop, rounds=5) if "eval/round" in metrics] == rounds


@pytest.mark.parametrize("budget", [1, 59, 60, 61, 400, 900])
@pytest.mark.parametrize("group_size", [1, 4])
def test_the_budget_is_never_exceeded_and_nearly_used_up(budget: int, group_size: int) -> None:
    """An episode is begun only if it fits however long it gets: what is left is less than that.

    Groups are whole or not at all, so less than a group's worth is left of them.
    """
    max_turns = 30
    loop = make_loop(
        max_turns=max_turns,
        max_real_steps=budget,
        real=RealConfig(
            demonstrations=2, explorations=3, episodes_per_round=8, group_size=group_size
        ),
    )
    spent = [metrics["ledger/real_steps"] for _, metrics in played(loop, rounds=12)]
    assert spent == sorted(spent)
    assert budget - max_turns * group_size < spent[-1] <= budget


def test_demonstrations_and_explorations_are_part_of_the_budget() -> None:
    loop = make_loop(
        max_turns=30,
        max_real_steps=100,
        real=RealConfig(demonstrations=2, explorations=9, episodes_per_round=8),
    )
    (_, metrics) = played(loop, rounds=0)[0]
    assert metrics["ledger/real_episodes"] == 3  # of at most 30 turns each
    assert metrics["ledger/demonstration_episodes"] == 2


def test_every_real_episode_is_entered_and_remembered_once() -> None:
    diary = Diary()
    loop = make_loop(
        real=RealConfig(demonstrations=2, explorations=3, episodes_per_round=4, group_size=2),
        imagination=DREAMS,
        journal=diary,
    )
    played(loop, rounds=3)
    real = [t for round in range(4) for t in diary.kept[round]]
    assert len({t.id for t in real}) == len(real) == 2 + 3 + 3 * 4
    assert loop.ledger["real"].episodes == len(real)
    assert loop.ledger["real"].steps == sum(len(t.turns) for t in real)
    assert sorted(t.id for t in stored(loop)) == sorted(t.id for t in real)


def test_dreams_are_counted_learned_from_and_never_remembered() -> None:
    student = Student()
    loop = make_loop(imagination=DREAMS, policy=student)
    played(loop, rounds=3)
    assert loop.ledger["imagined"].episodes == 3 * 6
    assert all(t.source is Source.REAL for t in stored(loop))
    dreamt = [
        trajectory
        for lesson in student.lessons
        for group in lesson
        for trajectory in group.trajectories
        if trajectory.source is Source.IMAGINED
    ]
    assert len(dreamt) == 3 * 6


def test_lock_step_opens_no_stream() -> None:
    """What is imagined by turns is imagined as it always was."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing streams where max_staleness is 0")

    streamless = make_loop(imagination=DREAMS)
    streamless.crew = registrar = Registrar(streamless.crew)
    registrar.stream = refuse
    ours = [untimed(metrics) for _, metrics in played(streamless, rounds=2)]
    theirs = [untimed(metrics) for _, metrics in played(make_loop(imagination=DREAMS), rounds=2)]
    assert ours == theirs
    assert not any("stale" in name for metrics in ours for name in metrics)


@pytest.mark.parametrize("max_staleness", [1, 2, 4])
def test_asynchronous_dreams_are_counted_and_learned_from_once_or_dropped(
    max_staleness: int,
) -> None:
    student = Student()
    imagination = replace(
        DREAMS, episodes_per_round=24, batches_per_round=4, max_staleness=max_staleness
    )
    loop = make_loop(imagination=imagination, policy=student)
    results = played(loop, rounds=3)
    assert loop.ledger["imagined"].episodes == 3 * 24
    dreamt = [
        trajectory.id
        for lesson in student.lessons
        for group in lesson
        for trajectory in group.trajectories
        if trajectory.source is Source.IMAGINED
    ]
    assert len(set(dreamt)) == len(dreamt)
    dropped = sum(m.get("imagined/dropped_stale_groups", 0.0) for _, m in results)
    assert len(dreamt) + 3 * dropped == 3 * 24
    for _, metrics in results[1:]:
        assert metrics["imagined/episodes"] == 24
        assert metrics["imagined/largest_staleness"] <= max_staleness
    assert all(t.source is Source.REAL for t in stored(loop))


def test_groups_are_whole() -> None:
    """Real and imagined ones: of one task, of the size asked for, no member of two groups."""
    student = Student()
    loop = make_loop(
        real=RealConfig(demonstrations=0, explorations=0, episodes_per_round=7, group_size=3),
        imagination=DREAMS,
        policy=student,
    )
    played(loop, rounds=2)
    groups = [group for lesson in student.lessons for group in lesson]
    assert len(groups) == 2 * (7 // 3 + 6 // 3)
    assert all(len(group.trajectories) == 3 for group in groups)
    assert all(t.task == group.task for group in groups for t in group.trajectories)
    ids = [t.id for group in groups for t in group.trajectories]
    assert len(set(ids)) == len(ids)


def test_a_failed_episode_is_counted_and_neither_remembered_nor_learned_from() -> None:
    student = Student()
    loop = make_loop(
        world=FragileWorld(num_doors=3),
        real=RealConfig(demonstrations=0, explorations=0, episodes_per_round=6, group_size=2),
        num_imagined=0,
        policy=student,
    )
    (_, metrics) = played(loop, rounds=1)[-1]  # the first of its three tasks breaks
    assert metrics["real/failures"] == 2
    assert metrics["ledger/real_failures"] == 2
    assert metrics["ledger/real_episodes"] == 6
    assert [len(group.trajectories) for group in student.lessons[-1]] == [2, 2]
    assert len(stored(loop)) == 4
    assert all(t.stop is not StopReason.ENV_ERROR for t in stored(loop))


def test_only_sound_demonstrations_are_imitated() -> None:
    student = Student()
    loop = make_loop(
        world=FragileWorld(num_doors=3),
        real=RealConfig(demonstrations=4, explorations=4, episodes_per_round=1),
        policy=student,
    )
    played(loop, rounds=0)
    assert [t.task.seed for t in student.shown] == [1, 2]
    assert all(t.behavior == "expert" for t in student.shown)


def test_no_task_is_played_in_two_rounds() -> None:
    diary = Diary()
    loop = make_loop(
        real=RealConfig(demonstrations=2, explorations=3, episodes_per_round=4, group_size=2),
        journal=diary,
        first_task=100,
    )
    played(loop, rounds=2)
    tasks = {r: {t.task.seed for t in episodes} for r, episodes in diary.kept.items()}
    assert tasks == {0: {100, 101, 102, 103, 104}, 1: {105, 106}, 2: {107, 108}}


@pytest.mark.parametrize("num_kept", [0, 2, 4])
def test_what_is_in_the_journal_is_not_played_again(num_kept: int) -> None:
    """A run that died in round 2 with some of its four episodes played plays the others."""
    real = RealConfig(demonstrations=1, explorations=2, episodes_per_round=4, group_size=2)
    whole, cut = Diary(), Diary()
    first = make_loop(real=real, imagination=DREAMS, journal=whole)
    before = played(first, rounds=2)
    cut.kept = {0: whole.kept[0], 1: whole.kept[1], 2: whole.kept[2][:num_kept]}
    again = make_loop(real=real, imagination=DREAMS, journal=cut)
    again.crew = registrar = Registrar(again.crew)
    after = played(again, rounds=2)
    assert registrar.asked == [t.id for t in whole.kept[2][num_kept:]]
    assert cut.kept == whole.kept
    assert [untimed(metrics) for _, metrics in after] == [untimed(metrics) for _, metrics in before]
    assert [t.id for t in stored(again)] == [t.id for t in stored(first)]


def untimed(metrics: Metrics) -> Metrics:
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


def test_the_same_seed_gives_the_same_numbers_and_another_one_others() -> None:
    def numbers(seed: int) -> list[Metrics]:
        world = CorridorWorld(num_doors=8)
        loop = make_loop(seed=seed, world=world, imagination=DREAMS)
        return [untimed(metrics) for _, metrics in played(loop, rounds=3)]

    assert numbers(1) == numbers(1) != numbers(2)


def test_rounds_may_be_played_in_two_goes() -> None:
    def episodes(*goes: tuple[int, int]) -> dict[int, list[Trajectory]]:
        diary = Diary()
        loop = make_loop(imagination=DREAMS, journal=diary, ledger=Ledger())
        for first, last in goes:
            played(loop, first=first, rounds=last)
        return diary.kept

    assert episodes((0, 3)) == episodes((0, 1), (2, 3))
