"""`dyna evaluate`: every measure of a run, on a corridor that tables learn and a language model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dyna import configuring
from dyna.checkpoint import CheckpointError
from dyna.config import RunConfig
from dyna.envs.corridor import CorridorWorld
from dyna.evaluation.fidelity import TurnScore
from dyna.testing import sample_trajectories, tiny_model
from dyna.tokenizer import train_tokenizer
from dyna.types import Outcome, Source, Task, Trajectory, Turn
from experiments.cli import main
from experiments.report.data import read_rate, read_run
from experiments.run import evaluate, opened, run
from experiments.scoring import MIN_TASKS, Measured, play_held_out, record

TINY = [
    "rounds=1", "world={name: corridor, max_turns: 12, params: {num_doors: 3, max_turns: 12}}",
    "real={demonstrations: 0, explorations: 6, episodes_per_round: 4}",
    "real.exploration.name=random",
    "imagination={episodes_per_round: 8, batches_per_round: 1, horizon: 12}",
    "evaluation={num_tasks: 3, fidelity_episodes: 2}",
]  # fmt: skip


def evaluated(folder: Path, *, config: RunConfig) -> dict[str, Any]:
    run(config, folder=folder)
    before = (folder / "report.html").read_text()
    assert main(["evaluate", str(folder)]) == 0
    assert (folder / "report.html").read_text() != before
    return json.loads((folder / "evaluation.json").read_text())


def tables() -> RunConfig:
    return configuring.load(overrides=[*TINY, "policy.name=tabular", "world_model.name=tabular"])


@pytest.fixture(scope="module")
def tabular(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return evaluated(tmp_path_factory.mktemp("runs") / "tabular", config=tables())


def test_tables_are_exact_where_they_have_been(tabular: dict[str, Any]) -> None:
    one_step = tabular["one_step"]
    assert one_step["em"]["rate"] == 1.0
    assert one_step["em"]["low"] < 1.0 == one_step["em"]["high"]
    assert set(one_step["kinds"]) == {"go"}
    assert one_step["invalid"] is None  # a random walker takes none
    assert tabular["calibration"]["ece"] == 0.0


def test_a_model_without_error_agrees_with_the_world_on_every_task(
    tabular: dict[str, Any],
) -> None:
    rates = [tabular["success"][name] for name in ("real", "wm", "w2r")]
    assert rates[0] == rates[1] == rates[2]
    assert rates[0]["num"] == MIN_TASKS
    pairs = tabular["consistency"]
    assert pairs["agreement"]["rate"] == 1.0
    assert pairs["false_positives"]["rate"] == pairs["false_negatives"]["rate"] == 0.0
    assert (pairs["first_divergence"], pairs["never_diverged"]) == ({}, MIN_TASKS)


def test_what_it_took_is_said(tabular: dict[str, Any]) -> None:
    assert tabular["round"] == 1
    assert tabular["steps"]["evaluation"] >= 3 * MIN_TASKS
    assert tabular["steps"]["imagined_evaluation"] >= MIN_TASKS


@pytest.fixture
def language(tmp_path: Path) -> RunConfig:
    words = [turn.outcome.observation for t in sample_trajectories() for turn in t.turns]
    tokenizer = train_tokenizer([*words, "go left", "go right"], min_count=1)
    model = tmp_path / "model"
    tiny_model(len(tokenizer)).save_pretrained(model)
    tokenizer.save_pretrained(model)
    settings = [f"{part}.model.path={model}" for part in ("policy", "world_model")]
    settings += ["policy.actions=admissible", "world_model.max_new_tokens=12"]
    settings += ["world.max_turns=3", "imagination.horizon=3"]
    return configuring.load(overrides=[*TINY, *settings])


def test_a_language_model_is_measured_in_the_form_that_the_report_reads(
    language: RunConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    found = evaluated(folder, config=language)
    assert read_run(folder).evaluation == found
    for name in ("em", "observation", "reward", "termination", "valid"):
        rate = read_rate(found["one_step"][name])
        assert rate is not None and rate.low is not None and rate.high is not None
        assert rate.low <= rate.rate <= rate.high
    tasks = found["consistency"]
    assert sum(tasks["first_divergence"].values()) + tasks["never_diverged"] == MIN_TASKS
    assert sum(b["num"] for b in found["calibration"]["bins"]) == found["one_step"]["em"]["num"]
    assert found["selective"][-1]["accuracy"] == found["one_step"]["em"]["rate"]


def test_the_tasks_are_none_that_the_run_was_measured_on(tmp_path: Path) -> None:
    """A world with too few tasks left is refused; it is never measured on the old ones."""
    config = replace(tables(), world=replace(tables().world, name=f"{__name__}:FewTasks"))
    with opened(config, folder=tmp_path) as (_, evaluator):
        seen = evaluator.evaluate(0)
        assert seen["eval/real_episodes"] == 3
        with pytest.raises(ValueError, match="has only 104 tasks"):
            play_held_out(config, evaluator=evaluator)


class FewTasks(CorridorWorld):
    """One task too few: 3 and 2 are used while training, 100 are needed."""

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        if offset + num > 104:
            raise ValueError(f"split {split!r} has only 104 tasks, {offset + num} were asked for")
        return super().tasks(split=split, num=num, offset=offset)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_run_without_a_whole_checkpoint_is_refused(tmp_path: Path, damaged: bool) -> None:
    configuring.save(RunConfig(), path=tmp_path / "config.yaml")
    if damaged:
        (tmp_path / "checkpoints" / "round_000001").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="has no whole checkpoint yet; `dyna resume"):
        evaluate(tmp_path)


def outcomes(*won: bool, source: Source) -> list[Trajectory]:
    """One-turn episodes of as many tasks."""
    (first, *_) = sample_trajectories()
    return [
        replace(
            first,
            id=f"{source}/{index}",
            task=replace(first.task, id=f"task {index}"),
            source=source,
            turns=(
                Turn(
                    action=first.turns[0].action,
                    outcome=Outcome(observation="", terminated=success, success=success),
                ),
            ),
        )
        for index, success in enumerate(won)
    ]


def test_pairs_tell_what_rates_hide() -> None:
    """The model is right about how many tasks are won, and wrong about which."""
    found = record(
        Measured(
            real=outcomes(True, True, False, False, source=Source.REAL),
            imagined=outcomes(True, False, True, False, source=Source.IMAGINED),
            replayed=outcomes(False, True, True, False, source=Source.REAL),
            scores=[],
        )
    )
    assert [found["success"][name]["rate"] for name in ("real", "wm", "w2r")] == [0.5] * 3
    pairs = found["consistency"]
    assert pairs["cr"] == 1.0
    assert pairs["cr_low"] < 1.0 and (pairs["cr_high"] is None or pairs["cr_high"] > 1.0)
    assert pairs["agreement"]["rate"] == 0.5
    assert pairs["false_positives"]["rate"] == pairs["false_negatives"]["rate"] == 0.25
    assert (pairs["first_divergence"], pairs["never_diverged"]) == ({"1": 2}, 2)


def score(*, exact: bool, confidence: float, valid: bool | None, kind: str = "go") -> TurnScore:
    return TurnScore(
        exact=exact,
        observation_exact=exact,
        reward_exact=True,
        termination_exact=True,
        confidence=confidence,
        predicted_success=False,
        success=False,
        kind=kind,
        valid=valid,
        depth=1,
        trajectory_id=kind,
    )


def test_invalid_actions_stand_apart_and_confidence_is_held_against_truth() -> None:
    scores = [score(exact=True, confidence=0.9, valid=True)] * 8
    scores += [score(exact=True, confidence=0.85, valid=True, kind="open")] * 8
    scores += [score(exact=False, confidence=0.3, valid=False)] * 4
    found = record(Measured(real=[], imagined=[], replayed=[], scores=scores))
    one_step = found["one_step"]
    assert one_step["em"]["rate"] == 0.8
    assert (one_step["valid"]["rate"], one_step["invalid"]["rate"]) == (1.0, 0.0)
    assert {kind: parts["em"]["num"] for kind, parts in one_step["kinds"].items()} == {
        "go": 8, "open": 8,
    }  # fmt: skip
    curve = {point["coverage"]: point["accuracy"] for point in found["selective"]}
    assert (curve[0.4], curve[0.8], curve[1.0]) == (1.0, 1.0, 0.8)
    assert found["calibration"]["ece"] == pytest.approx((8 * 0.1 + 8 * 0.15 + 4 * 0.3) / 20)
    assert found["calibration"]["ece_low"] < found["calibration"]["ece"]


def test_what_was_not_measured_is_none() -> None:
    found = record(Measured(real=[], imagined=[], replayed=[], scores=[]))
    assert found["success"] == {"real": None, "wm": None, "w2r": None}
    assert found["consistency"]["cr"] is None
    assert found["calibration"] == {"ece": None, "ece_low": None, "ece_high": None, "bins": []}
    json.dumps(found, allow_nan=False)
