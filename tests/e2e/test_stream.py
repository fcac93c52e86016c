"""A run through a stream: all experiences measured, old ones rehearsed, resumed to the last bit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.configuring import load
from dyna.files import read_json
from dyna.replay.parquet import read_trajectories
from dyna.stream import experience_of
from dyna.tracking import read_metrics
from experiments.watch import Interrupted
from tests.e2e.tiny_run import StopAt, assert_same, play, tiny

STREAM = (
    "stream.experiences=["
    "{name: place, rounds: 1, real: {demonstrations: 2, explorations: 4, episodes_per_round: 4}},"
    "{name: clean, params: {families: [clean]}, rounds: 1,"
    " real: {demonstrations: 2, explorations: 4, episodes_per_round: 4}}]"
)
GUARDS = (
    "replay.name=experience_balanced",
    "rehearsal.episodes=4",
    "imagination.balance_tasks=true",
    "alarm.episodes_per_round=2",
    "world_model_learner.regularizers=[{name: ewc}]",
    "evaluation.num_tasks=4",
    "evaluation.fidelity_episodes=4",
)


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stream")
    play(tiny(model, STREAM, *GUARDS), folder=folder)
    return folder


def test_every_experience_is_measured_at_the_end_of_each(undisturbed: Path) -> None:
    rounds = dict(read_metrics(undisturbed))
    assert list(rounds) == [0, 1, 2, 3]
    for round, metrics in rounds.items():
        measured = {f"experience/{name}/real_success" for name in ("place", "clean")}
        assert (measured <= metrics.keys()) == (round in (1, 3))
    for name in ("place", "clean"):
        for measure in ("em", "reward_em", "termination_em", "exploitation_gap"):
            assert math.isfinite(rounds[3][f"experience/{name}/{measure}"])
    assert rounds[2]["rehearsal/dreams"] == 4


def test_what_is_played_belongs_to_the_experience_of_its_round(undisturbed: Path) -> None:
    for round, name in enumerate(("place", "place", "clean", "clean")):
        path = undisturbed / "experience" / f"round_{round:06d}.parquet"
        played = [t for t in read_trajectories(path) if "/verify" not in t.id]
        assert {experience_of(t.task) for t in played} == {name}


@pytest.mark.parametrize(
    ("round", "phase"), [(1, "improve"), (2, "model"), (2, "imitate"), (3, "imagine")]
)
def test_a_stream_that_is_stopped_goes_on(
    round: int, phase: str, undisturbed: Path, model: Path, tmp_path: Path
) -> None:
    config = tiny(model, STREAM, *GUARDS)
    with pytest.raises(Interrupted):
        play(config, folder=tmp_path, progress=StopAt(phase, round=round, folder=tmp_path))
    play(config, folder=tmp_path, resume=True)
    assert_same(tmp_path, undisturbed)


def test_boundaries_that_nobody_tells_are_looked_for(model: Path, tmp_path: Path) -> None:
    config = tiny(model, STREAM, "stream.boundaries=detected", "replay.name=experience_balanced")
    play(config, folder=tmp_path)
    rounds = [metrics for _, metrics in read_metrics(tmp_path)]
    assert all(math.isfinite(rounds[opening]["drift/loss"]) for opening in (0, 2))
    assert rounds[0]["drift/experiences"] == 1, "a stream begins with an experience"
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    held = read_json(newest / "replay" / "buffer.json")
    found = [int(metrics["drift/found"]) for metrics in rounds]
    assert set(held["kinds"]) <= {f"drift {number}" for number in range(sum(found) + 1)}


def test_boundaries_cannot_be_found_without_a_loss(tmp_path: Path) -> None:
    config = load(
        overrides=[
            STREAM,
            "stream.boundaries=detected",
            "world_model.name=tabular",
            "policy.name=random",
        ]
    )
    with pytest.raises(ValueError, match="no loss to find boundaries by"):
        play(config, folder=tmp_path)
