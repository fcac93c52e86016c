"""The `dyna` command as a process: what it shows, how it is stopped and killed, how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from dyna.configuring import save
from experiments.cli import INTERRUPTED, MISTAKE, main
from experiments.watch import Interrupted
from tests.e2e.tiny_run import StopAt, assert_same, play, settings, tiny

ROOT = Path(__file__).resolve().parents[2]
FAULTY = "world.name=tests.e2e.faulty_parts:FaultyWorld"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(is_there: Callable[[], bool], *, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not is_there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_a_run_stopped_by_sigterm_says_how_to_go_on_and_does(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    changes = ["rounds=1", "imagination.episodes_per_round=200", "imagination.horizon=10"]
    changes += ["imagination.batches_per_round=1"]
    save(tiny(model, *changes), path=tmp_path / "mine.yaml")
    process = start("train", str(tmp_path / "mine.yaml"), "--run", str(folder))

    def is_dreaming() -> bool:
        path = folder / "state.json"
        return path.exists() and json.loads(path.read_text())["phase"] == "imagine"

    wait_for(is_dreaming, process=process)
    process.send_signal(signal.SIGTERM)
    shown, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert f"stopped by SIGTERM; what was done is kept. Continue with: dyna resume {folder}" in said
    assert "Traceback" not in said and "report:" not in shown
    state = json.loads((folder / "state.json").read_text())
    assert (state["status"], state["round"], state["phase"]) == ("stopped", 1, "imagine")

    process = start("resume", str(folder))
    shown, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    # Nothing but what a reader of a log wants: no bars, no colors, no chatter of libraries.
    assert said == ""
    assert "\x1b" not in shown and "\r" not in shown and "Loading" not in shown
    lines = shown.splitlines()
    assert lines[0].startswith("round 1: real success 0.000")
    assert any("Real success" in line for line in lines)
    assert lines[-1] == f"report: {folder / 'report.html'}"
    assert (folder / "report.html").is_file()
    play(tiny(model, *changes), folder=tmp_path / "undisturbed")
    assert_same(folder, tmp_path / "undisturbed")


def test_a_killed_run_spends_no_real_episode_twice(model: Path, tmp_path: Path) -> None:
    folder, log = tmp_path / "run", tmp_path / "resets"
    world = f"world.params={{admissible: true, step_s: 0.1, log: {log}}}"
    # One at a time, so that whole episodes lie in the journal while others are still to come.
    changes = ["rounds=1", "engine.max_batch=1", "real.episodes_per_round=6", FAULTY]
    save(tiny(model, *changes, world), path=tmp_path / "mine.yaml")
    process = start("train", str(tmp_path / "mine.yaml"), "--run", str(folder))
    parts = folder / "experience"
    wait_for(lambda: len(list(parts.glob("round_000001.part*.parquet"))) >= 2, process=process)
    process.kill()
    process.communicate()
    assert json.loads((folder / "state.json").read_text())["phase"] == "act"
    quick = tiny(model, *changes, f"world.params={{admissible: true, log: {log}}}")
    play(quick, folder=folder, resume=True)
    resets = Counter(line for line in log.read_text().splitlines() if "/train/" in line)
    # Groups of two; the one that was running, and those of the last second, were cut off.
    assert sum(resets.values()) <= 6 + 6 + 3
    calm = tiny(model, *changes, f"world.params={{admissible: true, log: {tmp_path / 'calm'}}}")
    play(calm, folder=tmp_path / "undisturbed")
    assert_same(folder, tmp_path / "undisturbed")


def test_ctrl_c_stops_as_politely(model: Path, tmp_path: Path) -> None:
    watch = StopAt("model", round=0, folder=tmp_path, signum=signal.SIGINT)
    with pytest.raises(Interrupted) as stopped:
        play(tiny(model), folder=tmp_path, progress=watch)
    assert 128 + stopped.value.signum == INTERRUPTED


def half(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: (m / "model.safetensors").unlink(), "lacks model.safetensors: it is no model"),
        (lambda m: half(m / "model.safetensors"), "model.safetensors' cannot be read"),
        (lambda m: half(m / "config.json"), "config.json' is not JSON"),
        (lambda m: (m / "tokenizer.json").unlink(), "lacks tokenizer.json"),
        (lambda m: half(m / "tokenizer.json"), "tokenizer.json"),
        (lambda m: half(m / "tokenizer_config.json"), "tokenizer_config.json"),
        (shutil.rmtree, "does not exist; give `base`, a folder written by"),
    ],
)
def test_a_damaged_model_folder_is_named_with_the_remedy(
    damage: Callable[[Path], object],
    message: str,
    model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    damage(copy)
    assert main(["train", *settings(copy), "--run", str(tmp_path / "run")]) == MISTAKE
    said = capsys.readouterr().err
    assert message in said and str(copy) in said and "Traceback" not in said


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    play(tiny(model, "rounds=1"), folder=folder)
    return folder


def lose_checkpoints_and_cut(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints")
    half(folder / "experience" / "round_000000.parquet")


def cut_all_weights(folder: Path) -> None:
    for path in folder.glob("checkpoints/*/policy/trainer/weights.safetensors"):
        half(path)


def scribble(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    path.write_text("???\n" + path.read_text())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: half(run / "config.yaml"), "config.yaml: lacks `"),
        (lambda run: (run / "config.yaml").write_text(""), "config.yaml: the file is empty"),
        (lambda run: (run / "config.yaml").unlink(), "is not the folder of a run"),
        (cut_all_weights, "is whole; restore one from a copy"),
        (lose_checkpoints_and_cut, "round_000000.parquet is not a whole Parquet file"),
        (scribble, "metrics.jsonl, line 1 is no line of metrics"),
    ],
)
def test_a_damaged_run_is_named_with_the_remedy(
    damage: Callable[[Path], object],
    message: str,
    finished: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    damage(folder)
    assert main(["resume", str(folder)]) == MISTAKE
    said = capsys.readouterr().err
    assert message in said and str(folder) in said and "Traceback" not in said
