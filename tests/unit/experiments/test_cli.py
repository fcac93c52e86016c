"""The `dyna` command, as a user types it."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dyna.config import RunConfig
from dyna.configuring import load, save
from dyna.testing import byte_tokenizer, tiny_model
from experiments.cli import MISTAKE, find_config, main, shipped_configs
from experiments.durations import duration
from experiments.phases import phases

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs go under the current folder, so that no test may stay in the checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(arguments: list[str], *, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command complains of, on one line; it must end with the status of a mistake."""
    try:
        status = main(arguments)
    except SystemExit as stopped:  # argparse ends the process itself
        status = stopped.code
    assert status == MISTAKE
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return " ".join(shown.err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "housold"], "no config `housold`, neither a file nor a shipped one; did"),
        (["train", "gone.yaml"], "there is no config `gone.yaml`"),
        (["train", "rouns=3"], "unknown key `rouns`; did you mean `rounds`?"),
        (["train", "rounds=zero"], "`rounds` must be a whole number, got 'zero'"),
        (["train", "imagination.horizon=0"], "imagination.horizon must be >= 1, got 0"),
        (["train", "policy.name=lllm"], "policies `lllm` is unknown; did you mean `llm`?"),
        (["train", "world.name=nolab.x:Y"], "there is no package `nolab`"),
        (["train", "household", "corridor"], "one config at a time"),
        (["config", "replay.nam=fifo"], "did you mean `replay.name`?"),
        (["train", "--dry", "--no-such"], "unrecognized arguments: --no-such"),
        (["plugins", "household"], "unrecognized arguments: household"),
        (["resume", "nothing-here"], "nothing-here is not the folder of a run"),
        (["report", "nothing-here"], "nothing-here is not the folder of a run"),
        (["evaluate", "."], ". is not the folder of a run: it has no config.yaml"),
        (["trian"], "invalid choice: 'trian'"),
        ([], "required"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_in_one_sentence(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in said(arguments, capsys=capsys)


def test_a_refused_run_leaves_nothing_behind(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said(["train", "imagination.horizon=0"], capsys=capsys)
    assert list(elsewhere.iterdir()) == []


def test_a_half_written_config_is_refused_with_its_line(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "mine.yaml").write_text("rounds: 2\nworld: {name: hous")
    assert "mine.yaml, line 2: not valid YAML" in said(["train", "mine.yaml"], capsys=capsys)


def test_a_folder_that_holds_a_run_is_not_used_again(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(RunConfig(), path=elsewhere / "old" / "config.yaml")
    message = said(["train", "--run", "old"], capsys=capsys)
    assert "old holds a run already; `dyna resume old` continues it" in message


def test_a_folder_that_cannot_be_written_is_refused(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "file").touch()
    assert "cannot make the folder" in said(["train", "output=file"], capsys=capsys)


def test_a_damaged_run_is_refused(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "run").mkdir()
    (elsewhere / "run" / "config.yaml").write_text("")
    assert "run/config.yaml: the file is empty" in said(["resume", "run"], capsys=capsys)


def test_a_run_without_its_model_ends_in_one_sentence(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = ["policy.model.path=./gone", "world_model.model.path=./gone"]
    assert "model folder 'gone' does not exist" in said(["train", *gone], capsys=capsys)


def test_config_prints_what_loads_back_with_words_of_explanation(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "household", "rounds=2", "world.isolation=thread"]) == 0
    text = capsys.readouterr().out
    (elsewhere / "mine.yaml").write_text(text)
    assert load(elsewhere / "mine.yaml") == load(
        find_config("household"), overrides=["rounds=2", "world.isolation=thread"]
    )
    assert "In a stream each experience has a number of its own.\nrounds: 2\n" in text


def test_options_may_stand_anywhere(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = said(["train", "--dry-run", "household", "imagination.horizon=0"], capsys=capsys)
    assert "imagination.horizon must be >= 1" in message
    message = said(["train", "household", "--dry-run", "imagination.horizon=0"], capsys=capsys)
    assert "imagination.horizon must be >= 1" in message


def test_plugins_lists_names_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins"]) == 0
    text = capsys.readouterr().out
    assert "dyna.engines.transformers:TransformersEngine" in text
    assert re.search(
        r"^policies +noisy_expert +agents\.scripted:NoisyExpertPolicy +built in", text, re.M
    )


def test_every_shipped_config_is_valid() -> None:
    assert "household" in shipped_configs()
    for name in shipped_configs():
        load(find_config(name))


def test_a_dry_run_plans_measures_and_writes_nothing(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = byte_tokenizer()
    model = elsewhere / "model"
    tiny_model(len(tokenizer), seed=0).save_pretrained(model)
    tokenizer.save_pretrained(model)
    settings = [f"{part}.model.path={model}" for part in ("policy", "world_model")]
    settings += [f"{part}.model.max_context=4000" for part in ("policy", "world_model")]
    settings += ["engine.max_batch=1", "world.params={admissible: true}", "rounds=3"]
    settings += ["world.max_turns=2"]
    assert main(["train", "--dry-run", "household", *settings]) == 0
    text = capsys.readouterr().out
    assert "household: 3 rounds" in text
    assert re.search(r"expected time +(< 1 s|\d+ (s|min|h))", text)
    assert re.search(r"expected memory \d+\.\d GiB", text)
    assert [entry.name for entry in elsewhere.iterdir()] == ["model"]


def test_a_dry_run_says_when_it_cannot_load_the_model(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--dry-run", "world_model.model.path=./gone"]) == 0
    text = capsys.readouterr().out
    assert "time and memory cannot be told" in text
    assert "gone" in text
    assert "imagine" in text


def test_the_plan_counts_what_the_config_asks_for() -> None:
    config = load(
        overrides=[
            "rounds=3", "real.demonstrations=4", "real.explorations=6", "real.episodes_per_round=9",
            "real.group_size=2", "imagination.episodes_per_round=20", "imagination.group_size=8",
            "imagination.horizon=5", "world.max_turns=10", "evaluation.every=2",
            "evaluation.num_tasks=7",
        ]
    )  # fmt: skip
    plan = {phase.name: phase for phase in phases(config)}
    assert plan["demonstrations and exploration"].real_episodes == 10
    assert plan["act"].real_episodes == 3 * 8
    assert plan["act"].max_steps == 3 * 8 * 10
    assert plan["imagine"].imagined_episodes == 3 * 24
    assert plan["imagine"].max_steps == 3 * 24 * 5
    assert plan["evaluation"].times == 3  # rounds 0, 2 and, as the last, 3
    assert plan["evaluation"].real_episodes == 21


def test_without_imagination_the_plan_has_none() -> None:
    names = {phase.name for phase in phases(load(overrides=["imagination.episodes_per_round=0"]))}
    assert "imagine" not in names


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "< 1 s"), (59.0, "59 s"), (75.0, "1 min 15 s"), (7300.0, "2 h 1 min")],
)
def test_durations_are_said_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "experiments.cli", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert "COMMAND" in done.stdout
    # CPU seconds, 0.3 on a quiet machine; with torch or Ray imported it is several.
    assert spent < 1.0


def test_the_script_for_ray_submit_stands_alone(elsewhere: Path) -> None:
    """`ray submit` copies this one file to another folder and runs it there."""
    script = elsewhere / "train.py"
    script.write_text((ROOT / "experiments" / "train.py").read_text())
    done = subprocess.run(
        [sys.executable, str(script), "household", "imagination.horizon=0"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (MISTAKE, "")
    assert "imagination.horizon must be >= 1, got 0" in done.stderr


def test_the_shipped_config_is_plain_yaml() -> None:
    values = yaml.safe_load(find_config("household").read_text())
    assert values["name"] == "household"
