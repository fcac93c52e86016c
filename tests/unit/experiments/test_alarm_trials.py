"""Trials of the alarm, and who forgot: what is read off runs, and what is not run twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dyna.configuring import load, save
from dyna.files import read_json
from experiments.studies.continual import alarm_trials
from experiments.studies.continual.alarm_trials import fall, opens_in, read_study, run_trials
from experiments.studies.continual.who_forgot import main, who_forgot


def small_study() -> dict[str, Any]:
    study = read_study()
    small = ("world.params.num_rows=8", "imagination.episodes_per_round=160", "alarm.level=0.05")
    study["settings"] = [*study["settings"], *small]
    return study | {"seeds": 1, "opens_between": [2, 2], "rounds_after": 1}


def test_a_fall_is_measured_from_the_best_there_was() -> None:
    assert fall([0.2, 0.5, 0.4, 0.9, 0.7, 0.8]) == pytest.approx(0.2)
    assert fall([0.1, 0.2]) == 0.0


def test_holes_open_within_their_bounds_and_as_the_seed_says() -> None:
    study = read_study()
    low, high = study["opens_between"]
    rounds = [opens_in(study, seed=seed) for seed in range(40)]
    assert set(rounds) == set(range(low, high + 1))  # one lacks once in 68 sets of seeds
    assert rounds == [opens_in(study, seed=seed) for seed in range(40)]


def test_a_trial_tells_what_happened() -> None:
    study = small_study()
    row = alarm_trials.trial(study, arm="planted", seed=0)
    assert row["hole_opens"] == 2
    assert len(row["success_by_round"]) == 4
    assert 0 < row["verification_steps"] < row["real_steps"]
    assert row["tripped"] is bool(row["why"])


def test_trials_that_are_done_are_not_run_again(tmp_path: Path) -> None:
    study = small_study() | {"arms": {"clean": []}}
    result = tmp_path / "alarm.json"
    console = Console(quiet=True)
    first = run_trials(study, result=result, num_parallel=1, console=console)
    again = run_trials(study, result=result, num_parallel=1, console=console)
    assert first == again  # seconds too
    assert read_json(result)["summary"]["clean"]["tripped"] == 0


def run_folder(folder: Path, *, final: dict[str, float], rounds: int = 4) -> Path:
    """Two experiences of one round each; the first was learned to 0.9."""
    folder.mkdir()
    experiences = "[{name: a, real: {demonstrations: 1}}, {name: b, real: {demonstrations: 1}}]"
    save(load(overrides=[f"stream.experiences={experiences}"]), path=folder / "config.yaml")
    metrics = {1: {"real_success": 0.9, "imagined_success": 0.9}, 3: final}
    with (folder / "metrics.jsonl").open("w") as file:
        for round in range(rounds):
            named = {f"experience/a/{k}": v for k, v in metrics.get(round, {}).items()}
            file.write(json.dumps({"round": round, "metrics": named}) + "\n")
    return folder


def test_who_forgot_is_read_off_two_runs(tmp_path: Path) -> None:
    live = run_folder(tmp_path / "live", final={"real_success": 0.5, "imagined_success": 0.7})
    oracle = run_folder(tmp_path / "oracle", final={"real_success": 0.8})
    found = who_forgot(live, oracle=oracle)["a"]
    assert (found.learned, found.real, found.model, found.oracle) == (0.9, 0.5, 0.7, 0.8)
    pair = ["--pair", str(live), str(oracle)]
    main([*pair, *pair, "--result", str(tmp_path / "who.json")])
    (seed, _) = read_json(tmp_path / "who.json")["seeds"]
    assert seed["a"]["model_share"] == pytest.approx(0.3)
    assert seed["b"]["real"] is None


def test_a_run_that_did_not_end_is_told(tmp_path: Path) -> None:
    live = run_folder(tmp_path / "live", final={}, rounds=3)
    with pytest.raises(ValueError, match=r"has not ended: round 3 is missing; `dyna resume"):
        who_forgot(live, oracle=live)
