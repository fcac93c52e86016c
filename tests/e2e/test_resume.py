"""A run that is stopped goes on as if nothing had been: the same state, to the last bit."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from dyna.checkpoint import CheckpointError
from dyna.replay.parquet import TrajectoryFileError, read_trajectories
from dyna.tracking import read_metrics
from experiments.journal import ExperienceJournal
from experiments.watch import Interrupted
from tests.e2e.tiny_run import StopAt, assert_same, metrics_of, play, state_of, tiny


@pytest.fixture(scope="module")
def undisturbed(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    play(tiny(model), folder=folder)
    return folder


@pytest.fixture
def halfway(undisturbed: Path, model: Path, tmp_path: Path) -> Path:
    """A run of 3 rounds, killed before round 3 was saved: with the journal of what came after."""
    folder = tmp_path / "run"
    shutil.copytree(undisturbed, folder)
    shutil.rmtree(folder / "checkpoints" / "round_000003")
    return folder


def test_rounds_in_two_parts_are_the_same_as_in_one(
    undisturbed: Path, model: Path, tmp_path: Path
) -> None:
    play(tiny(model, "rounds=1"), folder=tmp_path)
    assert [round for round, _ in read_metrics(tmp_path)] == [0, 1]
    play(tiny(model), folder=tmp_path, resume=True)
    assert_same(tmp_path, undisturbed)


@pytest.mark.parametrize(
    ("round", "phase"),
    [
        (0, "act"), (0, "model"), (0, "imitate"), (0, "evaluate"), (2, "act"), (2, "model"),
        (2, "imagine"), (2, "improve"), (3, "evaluate"),
    ],
)  # fmt: skip
def test_a_run_told_to_stop_goes_on_from_any_phase(
    round: int, phase: str, undisturbed: Path, model: Path, tmp_path: Path
) -> None:
    folder, log = tmp_path / "run", tmp_path / "resets"
    world = f"world.params={{admissible: true, log: {log}}}"
    config = tiny(model, "world.name=tests.e2e.faulty_parts:FaultyWorld", world)
    folder.mkdir()
    with pytest.raises(Interrupted):
        play(config, folder=folder, progress=StopAt(phase, round=round, folder=folder))
    state = json.loads((folder / "state.json").read_text())
    assert (state["status"], state["round"]) == ("stopped", round)
    kept = ExperienceJournal(folder / "experience").read(round)
    play(config, folder=folder, resume=True)
    assert json.loads((folder / "state.json").read_text())["status"] == "done"
    resets = Counter(line for line in log.read_text().splitlines() if "/train/" in line)
    num_real = 6 + 3 * 4
    if phase != "act":
        assert sum(resets.values()) == num_real
        assert_same(folder, undisturbed)
        return
    assert kept is not None and len(kept) >= 1
    num_running = (6 if round == 0 else 4) - len(kept)
    assert sum(resets.values()) <= num_real + num_running
    # The last bits of a log-prob come from whoever spoke beside it; what was said is the same.
    for name in ("ledger/real_steps", "ledger/real_episodes", "ledger/evaluation_steps"):
        assert metrics_of(folder)[round][1][name] == metrics_of(undisturbed)[round][1][name]
    assert said_in(folder, round) == said_in(undisturbed, round)


def said_in(folder: Path, round: int) -> list[list[str]]:
    episodes = read_trajectories(folder / "experience" / f"round_{round:06d}.parquet")
    return [[turn.action.command for turn in episode.turns] for episode in episodes]


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
    path = halfway / "experience" / "round_000003.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(TrajectoryFileError, match=r"round_000003.*without a copy delete it"):
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
    assert "Imagined" in screen


def test_the_seed_decides_everything(undisturbed: Path, model: Path, tmp_path: Path) -> None:
    play(tiny(model), folder=tmp_path / "again")
    assert_same(tmp_path / "again", undisturbed)
    play(tiny(model, "seed=1"), folder=tmp_path / "other")
    assert metrics_of(tmp_path / "other") != metrics_of(undisturbed)
    assert state_of(tmp_path / "other") != state_of(undisturbed)
