"""Rehearsal: old tasks are dreamt before new ones are learned, and only good dreams are kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.config import ExperienceConfig, StreamConfig
from dyna.rehearsal import Rehearsal, grade
from dyna.replay.buffer import TrajectoryBuffer
from dyna.rllib.parts import Run
from dyna.starts import skill_of
from dyna.types import (
    Action,
    Metrics,
    Outcome,
    Source,
    Start,
    StopReason,
    Task,
    Trajectory,
    Turn,
)
from tests.unit.dyna.guarded_runs import make, settings

TASK = Task(id="t/0", world="t", family="t", split="train")
WIN = Outcome(
    observation="Done.", reward=1.0, terminated=True, success=True, stop=StopReason.TERMINATED
)


def dream(*sureness: float, last: Outcome = WIN, command: str = "go") -> Trajectory:
    """As many turns as confidences; the last one ends it."""
    outcomes = [Outcome(observation="ok", confidence=value) for value in sureness[:-1]]
    outcomes.append(replace(last, confidence=sureness[-1]))
    return Trajectory(
        id=f"{sureness}",
        task=TASK,
        start=Start(observation="A room."),
        turns=tuple(Turn(action=Action(command=command), outcome=o) for o in outcomes),
        stop=last.stop or StopReason.HORIZON,
        source=Source.IMAGINED,
    )


def test_a_trusted_win_is_kept_and_marked() -> None:
    (kept,) = grade([dream(0.9, 0.95)], min_confidence=0.8, min_win_confidence=0.9)
    assert kept.source is Source.REHEARSED
    assert kept.success


@pytest.mark.parametrize(
    "bad",
    [
        dream(0.7, 0.95),
        dream(0.9, 0.85),
        dream(0.9, 0.95, last=Outcome(observation="ok")),
        dream(0.9, 0.95, last=replace(WIN, success=False)),
        dream(0.9, 0.95, last=replace(WIN, terminated=False, stop=None)),
        replace(dream(0.9, 0.95), stop=StopReason.UNTRUSTED),
        replace(dream(0.9, 0.95), branch_point=1),
    ],
    ids=["doubted", "doubted win", "cut", "lost", "no ending", "untrusted", "branched"],
)
def test_any_other_dream_is_dropped(bad: Trajectory) -> None:
    assert grade([bad], min_confidence=0.8, min_win_confidence=0.9) == []


def test_one_way_of_doing_a_task_is_kept_once() -> None:
    dreams = [dream(0.9, 1.0), dream(0.95, 1.0), dream(0.9, 1.0, command="run")]
    assert len(grade(dreams)) == 2


def stream_run(*changes: str) -> Run:
    """Two experiences: corridors with other doors each."""
    config = settings(
        "rehearsal.episodes=6", "imagination.balance_tasks=true", "evaluation.num_tasks=4", *changes
    )
    real = replace(config.real, demonstrations=20)
    parts = [
        ExperienceConfig(name=name, rounds=2, real=real, params={"seed": seed})
        for name, seed in (("first", 0), ("second", 100))
    ]
    return make(replace(config, stream=StreamConfig(experiences=parts)))


def play(run: Run, *, last: int, first: int = 0) -> dict[int, Metrics]:
    return dict(run.loop.run(first_round=first, last_round=last))


def test_nothing_is_rehearsed_before_the_first_experience() -> None:
    rounds = play(stream_run(), last=0)
    assert "rehearsal/dreams" not in rounds[0]


def test_old_wins_are_cloned_beside_the_new_demonstrations() -> None:
    run = stream_run("rehearsal.share=0.5")
    taught: list[list[Trajectory]] = []
    learn = run.loop.policy_learner.imitate

    def imitate(shown: list[Trajectory]) -> Metrics:
        taught.append(list(shown))
        return learn(shown)

    run.loop.policy_learner.imitate = imitate  # type: ignore[method-assign]
    rounds = play(run, last=3)
    assert rounds[3]["rehearsal/dreams"] == 6.0
    assert rounds[3]["rehearsal/kept"] > 0
    first, second = taught
    assert Counter(skill_of(t.task) for t in first) == {"first": 20}
    found = Counter((skill_of(t.task), t.source.value) for t in second)
    assert found["second", "real"] == 20
    old = [t for t in second if skill_of(t.task) == "first"]
    assert 0 < len(old) <= 10
    assert all(t.success for t in old)
    assert {t.source for t in old} == {Source.REAL, Source.REHEARSED}


def test_real_successes_can_be_left_out() -> None:
    run = stream_run("rehearsal.real=false")
    play(run, last=2)
    rehearsal = run.loop.rehearser
    assert isinstance(rehearsal, Rehearsal)
    rehearsal.rehearse(3)
    assert {t.source for t in rehearsal.beside([], round=3)} == {Source.REHEARSED}


@pytest.mark.parametrize("into_model", [False, True])
def test_generative_replay_fills_the_buffer_only_if_asked(into_model: bool) -> None:
    run = stream_run(f"rehearsal.into_model={into_model}", "replay.name=experience_balanced")
    play(run, last=3)
    replay = run.loop.replay
    assert isinstance(replay, TrajectoryBuffer)
    rehearsed = [t for t in replay.trajectories() if t.source is Source.REHEARSED]
    assert bool(rehearsed) is into_model
    assert {skill_of(t.task) for t in rehearsed} <= {"first"}


def test_a_run_resumed_between_experiences_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    changes = ("alarm.episodes_per_round=2", "rehearsal.into_model=true")
    straight = stream_run(*changes)
    play(straight, last=2)
    checkpoint.save(tmp_path, round=2, parts=straight.parts)
    expected = play(straight, first=3, last=4)
    resumed = stream_run(*changes)
    checkpoint.restore(tmp_path / "checkpoints" / "round_000002", parts=resumed.parts)
    found = play(resumed, first=3, last=4)
    for round, metrics in expected.items():
        for name, value in metrics.items():
            if not name.startswith("time/"):
                assert found[round][name] == value, name
