"""A run that is stopped goes on as if nothing had been: the same state, to the last bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dyna.checkpoint import CheckpointError
from dyna.replay.parquet import TrajectoryFileError
from dyna.tracking import read_metrics
from tests.e2e.tiny_run import assert_same, metrics_of, play, state_of, tiny


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    play(tiny(model), folder=folder)
    return folder


@pytest.fixture
def halfway(undisturbed: Path, model: Path, tmp_path: Path) -> Path:
    """A run after round 1 of 3, as a kill leaves it: with the journal of what came after."""
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    shutil.rmtree(folder / "checkpoints")
    play(tiny(model, "rounds=1"), folder=tmp_path / "short")
    shutil.copytree(tmp_path / "short" / "checkpoints", folder / "checkpoints")
    return folder


def test_rounds_in_two_parts_are_the_same_as_in_one(
    undisturbed: Path, model: Path, tmp_path: Path
) -> None:
    play(tiny(model, "rounds=1"), folder=tmp_path)
    assert [round for round, _ in read_metrics(tmp_path)] == [0, 1]
    play(tiny(model), folder=tmp_path, resume=True)
    assert_same(tmp_path, undisturbed)


def test_real_experience_in_the_journal_is_not_played_again(
    undisturbed: Path, halfway: Path, model: Path
) -> None:
    before = (halfway / "experience" / "round_000002.parquet").stat().st_mtime_ns
    config = tiny(model)
    # Whoever plays here again would need other houses than there are.
    play(config, folder=halfway, resume=True)
    assert_same(halfway, undisturbed)
    assert (halfway / "experience" / "round_000002.parquet").stat().st_mtime_ns >= before


def test_the_newest_checkpoint_damaged_the_one_before_is_used(
    undisturbed: Path, model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    weights = next((folder / "checkpoints" / "round_000003").rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    play(tiny(model), folder=folder, resume=True)
    assert "skipping a checkpoint" in caplog.text and weights.name in caplog.text
    assert_same(folder, undisturbed)


def test_without_a_whole_checkpoint_nothing_is_learned_again_unasked(
    halfway: Path, model: Path
) -> None:
    before = metrics_of(halfway)
    for marker in halfway.glob("checkpoints/*/complete.json"):
        marker.unlink()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is whole; restore one"):
        play(tiny(model), folder=halfway, resume=True)
    assert metrics_of(halfway) == before


def test_a_run_that_never_came_to_a_checkpoint_begins_anew(
    undisturbed: Path, halfway: Path, model: Path
) -> None:
    shutil.rmtree(halfway / "checkpoints")
    play(tiny(model), folder=halfway, resume=True)
    assert_same(halfway, undisturbed)


def test_a_damaged_journal_is_named_with_the_remedy(
    undisturbed: Path, halfway: Path, model: Path
) -> None:
    path = halfway / "experience" / "round_000002.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(TrajectoryFileError, match=r"round_000002.*without a copy delete it"):
        play(tiny(model), folder=halfway, resume=True)
    path.unlink()
    play(tiny(model), folder=halfway, resume=True)
    assert_same(halfway, undisturbed)


def test_a_finished_run_resumed_stays_as_it_is(
    undisturbed: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    screen = play(tiny(model), folder=folder, resume=True)
    assert_same(folder, undisturbed)
    assert (folder / "episodes.json").read_bytes() == (undisturbed / "episodes.json").read_bytes()
    assert "Real success" in screen.replace("\n", " ") or "Real" in screen


def test_the_seed_decides_everything(undisturbed: Path, model: Path, tmp_path: Path) -> None:
    play(tiny(model), folder=tmp_path / "again")
    assert_same(tmp_path / "again", undisturbed)
    play(tiny(model, "seed=1"), folder=tmp_path / "other")
    assert metrics_of(tmp_path / "other") != metrics_of(undisturbed)
    assert state_of(tmp_path / "other") != state_of(undisturbed)
