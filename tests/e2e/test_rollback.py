"""An earlier world model made live again by one command; the run goes on from it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.files import read_json
from dyna.tracking import read_metrics
from experiments.cli import main
from tests.e2e.tiny_run import metrics_of, play, state_of, tiny
from worldmodels.earlier import version_of

WORLD_MODEL = "world_model"
SETTINGS = (
    "tracking.keep_checkpoints=3",
    "world_model_learner.gate.holdout_fraction=0.02",  # so that every round trains
)


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rounds 0 to 3 played; the checkpoints of 1, 2 and 3 kept, each with a model of its own."""
    folder = tmp_path_factory.mktemp("finished")
    play(tiny(model, *SETTINGS), folder=folder)
    versions = [version_of(path / WORLD_MODEL) for path in kept(folder)]
    assert versions == [2, 3, 4]
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    return folder


def kept(folder: Path) -> list[Path]:
    return sorted(checkpoint.checkpoints_folder(folder).glob("round_*"))


def model_files(folder: Path) -> dict[str, bytes]:
    names = ("weights.safetensors", "optimizer.safetensors")
    return {name: (folder / WORLD_MODEL / "trainer" / name).read_bytes() for name in names}


def test_the_model_of_an_earlier_round_goes_live_and_all_else_stays(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(run)
    assert main(["rollback", str(run), "--to", "1"]) == 0
    assert "round 3 has the world model of round 1 again, as version 5" in capsys.readouterr().out
    first, _, newest = kept(run)
    checkpoint.verify(newest)
    assert model_files(newest) == model_files(first)
    after = state_of(run)
    changed = {name for name in before if before[name] != after[name]}
    assert after.keys() == before.keys()
    assert changed <= {name for name in before if name.startswith("world_model/")}
    assert not any("/gate/" in name for name in changed)
    assert read_json(newest / WORLD_MODEL / "learner.json")["num_updates"] == 4
    assert read_json(run / "rollbacks.json") == [{"round": 3, "to": 1, "version": 5}]


def test_the_run_goes_on_from_it(run: Path, model: Path) -> None:
    untouched = metrics_of(run)
    assert main(["rollback", str(run)]) == 0
    play(tiny(model, "rounds=4", *SETTINGS), folder=run, resume=True)
    assert metrics_of(run)[:4] == untouched
    rounds = dict(read_metrics(run))
    assert rounds[4]["model/version"] == 6.0  # 4 were made, the third made live again is 5
    assert rounds[4]["ledger/real_steps"] > rounds[3]["ledger/real_steps"]


def test_by_default_it_is_the_model_live_before_and_the_next_way_back_leads_further(
    run: Path,
) -> None:
    assert main(["rollback", str(run)]) == 0
    assert main(["rollback", str(run)]) == 0
    first, _, newest = kept(run)
    assert model_files(newest) == model_files(first)
    assert [entry["to"] for entry in read_json(run / "rollbacks.json")] == [2, 1]
    assert main(["rollback", str(run)]) == 2


@pytest.mark.parametrize(
    ("to", "told"),
    [("0", "round 0 is not kept: .* has those of 1, 2, 3"), ("3", "round 3 is the newest")],
)
def test_a_round_that_is_gone_or_newest_is_refused(
    to: str, told: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = state_of(run)
    assert main(["rollback", str(run), "--to", to]) == 2
    assert re.search(told, capsys.readouterr().err.replace("\n", " "))
    assert state_of(run) == before


def test_a_damaged_checkpoint_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = kept(run)[0] / WORLD_MODEL / "trainer" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert main(["rollback", str(run), "--to", "1"]) == 2
    assert "round_000001 is not whole" in capsys.readouterr().err


def test_a_run_that_runs_is_left_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {"status": "running", "pid": os.getpid()}
    (run / "state.json").write_text(json.dumps(state))
    assert main(["rollback", str(run)]) == 2
    assert "stop it first" in capsys.readouterr().err


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollback", str(tmp_path)]) == 2
    assert "not the folder of a run" in capsys.readouterr().err
