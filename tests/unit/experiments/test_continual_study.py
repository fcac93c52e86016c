"""Studies of continual learning: their settings, their tables and their figures.

The runs themselves are `make smoke-continual`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dyna.config import Isolation
from dyna.configuring import ConfigError, load
from dyna.evaluation.continual import ResultMatrix, backward_transfer
from dyna.files import write_json
from dyna.stream import world_of
from experiments.phases import phases
from experiments.studies.continual.outcomes import interval, read_outcomes
from experiments.studies.continual.page import summary_table, write_page
from experiments.studies.continual.settings import plan, read
from experiments.studies.continual.tables import goals_table, shortfall_table, verdict
from experiments.studies.continual.trial_tables import alarm_section, gate_section
from experiments.usage import find_config

TASKS = ("heat", "cool")
MEASURES = ("em", "reward_em", "termination_em", "em_invalid", "real_success")


def test_the_study_for_a_large_model_walks_five_worlds_that_share_one_config() -> None:
    study = read("chain_qwen2.5-7b")
    job = plan(study, folder=Path("unused")).strategies["guarded"][0]
    config = load(find_config(job.settings[0]), overrides=job.settings[1:])
    worlds = world_of(config).params["worlds"]
    assert [section["name"] for section in worlds.values()] == [
        "alfworld", "scienceworld", "textworld", "webshop", "toolbench",
    ]  # fmt: skip
    assert config.world.isolation is Isolation.PROCESS, "Java and native code play in processes"
    assert config.engine.shared and config.engine.num_actors and config.runtime.num_learners
    assert config.policy.model == config.world_model.model
    planned = {phase.name: phase for phase in phases(config)}
    assert planned["act"].real_episodes == 5 * 4 * 128
    # The shipped config walks the same stream without the study.
    assert load(find_config(study.config)).stream.experiences == config.stream.experiences


@pytest.mark.parametrize("name", ["chain_memory", "chain_replay_share"])
def test_the_sweeps_are_of_the_chain_of_four(name: str) -> None:
    sweep, chain = read(name), read("chain_4")
    assert (sweep.config, sweep.common) == (chain.config, chain.common)
    assert sweep.experiences == chain.experiences
    limit = next(text for text in chain.common if text.startswith("replay.max_bytes="))
    nominal = int(limit.partition("=")[2])
    for label, settings in sweep.strategies.items():
        strategy, _, value = label.partition("@")
        assert settings[0] == f"replay.name={strategy}"
        if name == "chain_memory":
            # The chain's own memory is 5% of what it meets.
            assert settings[1] == f"replay.max_bytes={round(nominal * float(value) / 0.05)}"
        else:
            assert settings[1] == f"world_model_learner.replay_ratio={value}"


def test_an_unknown_study_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="chain_4"):
        read("chain_9")


def entries(scores: Sequence[Sequence[float]], *, seeds: int, share: float) -> list[dict[str, Any]]:
    """Results of a strategy; every seed a hundredth better than the one before it."""
    found: list[dict[str, Any]] = []
    for seed in range(seeds):
        rows = tuple(tuple(score + 0.01 * seed for score in row) for row in scores)
        matrix = ResultMatrix(tasks=TASKS, scores=rows, before=(0.0, 0.1)).to_json()
        found.append(
            {
                "seed": seed,
                "model_matrix": matrix,
                "policy_matrix": matrix,
                "memory_share": share,
                "memory_bytes": 2048,
                "real_steps": 100,
                "imagined_steps": 1000,
                "refused_updates": seed,
                "seconds": 60.0,
            }
        )
    return found


def write_results(
    folder: Path, *, name: str = "mine", strategies: dict[str, Any], joint: bool = True
) -> Path:
    rows = [{"seed": s, **{key: [0.9, 0.9] for key in MEASURES}} for s in range(3)]
    frame = {
        "study": {"name": name, "strategies": {key: [] for key in strategies}},
        "tasks": list(TASKS),
        "machine": "2 CPU cores",
        "references": {"before": [], "joint": rows if joint else [], "alone": []},
    }
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{name}.json", value=strategies)
    write_json(folder / f"{name}.study.json", value=frame)
    return folder / f"{name}.json"


KEPT = ((0.9, 0.1), (0.9, 0.9))
LOST = ((0.9, 0.1), (0.4, 0.9))


def test_tables_say_who_reached_the_goals_and_who_did_not(tmp_path: Path) -> None:
    strategies = {
        "none": entries(LOST, seeds=3, share=0.0),
        "guarded": entries(KEPT, seeds=3, share=0.05),
        "hoarding": entries(KEPT, seeds=3, share=0.06),
    }
    study = read_outcomes(write_results(tmp_path, strategies=strategies))
    assert verdict(study) == "**Reached in every seed by `guarded`.**"
    rows = {line.split("|")[1].strip(): line for line in goals_table(study).splitlines()}
    assert rows["`guarded`"].count("3 of 3") == 6
    assert rows["`none`"].count("0 of 3") == 5, "only memory is within its bound"
    assert rows["`hoarding`"].endswith("| 0 of 3 | 0 of 3 |")
    found = interval(study.strategies["none"], role="policy", measure=backward_transfer)
    assert found is not None and found.rate == pytest.approx(-0.5)
    # Against 0.9 of joint training, the lost task ends at 0.4, 0.41 and 0.42.
    assert "| `none` | +49.0 | -1.0 | 0 of 3 |" in shortfall_table(study, role="model")


def test_what_was_not_measured_is_not_claimed(tmp_path: Path) -> None:
    holes = entries(KEPT, seeds=2, share=0.05)
    holes[1]["model_matrix"]["scores"][1][0] = None
    result = write_results(tmp_path, strategies={"guarded": holes}, joint=False)
    study = read_outcomes(result)
    assert interval(study.strategies["guarded"], role="model", measure=backward_transfer) is None
    assert "not run" in verdict(study)
    assert "3 of" not in goals_table(study) and "n/a" in goals_table(study)
    assert shortfall_table(study, role="model") == ""
    page = tmp_path / "page.md"
    page.write_text("<!-- mine:begin -->\n<!-- mine:end -->\n")
    write_page(page, results=tmp_path)
    assert "n/a" in page.read_text()


def test_the_page_gets_tables_and_figures_between_its_marks_alone(tmp_path: Path) -> None:
    strategies = {"none": entries(LOST, seeds=1, share=0.0), "a<b": entries(KEPT, seeds=3, share=0)}
    result = write_results(tmp_path / "results", strategies=strategies)
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- mine:begin -->\nold\n<!-- mine:end -->\nbelow\n")
    write_page(page, results=tmp_path / "results")
    first = page.read_text()
    assert first.startswith("above\n") and first.endswith("below\n") and "old" not in first
    write_page(page, results=tmp_path / "results")
    assert page.read_text() == first
    figures = sorted((tmp_path / "results").glob("*.svg"))
    assert [f"(results/{path.name})" in first for path in figures] == [True] * 5
    for path in figures:
        assert len(list(ElementTree.parse(path).iter())) > 20, "it is XML, and something is drawn"
    assert summary_table(result).row_count == 2
    with pytest.raises(FileNotFoundError, match="existing Markdown"):
        write_page(tmp_path / "missing.md", results=tmp_path / "results")


def test_strategies_at_several_values_become_lines(tmp_path: Path) -> None:
    strategies = {
        f"{name}@{value}": entries(scores, seeds=2, share=value)
        for name, scores in (("fifo", LOST), ("dual", KEPT))
        for value in (0.01, 0.1)
    }
    write_results(tmp_path, strategies=strategies)
    page = tmp_path / "page.md"
    page.write_text("<!-- mine:begin -->\n<!-- mine:end -->\n")
    write_page(page, results=tmp_path)
    drawing = (tmp_path / "mine_sweep.svg").read_text()
    assert drawing.count("<polyline") == 2 * 4 and "fifo at 0.01: -0.5" in drawing


def test_results_of_other_tasks_are_refused(tmp_path: Path) -> None:
    result = write_results(tmp_path, strategies={"none": entries(LOST, seeds=1, share=0.0)})
    frame = result.with_suffix(".study.json")
    frame.write_text(frame.read_text().replace('"cool"', '"clean"'))
    with pytest.raises(ValueError, match="is of tasks heat, cool, the study now of heat, clean"):
        read_outcomes(result)


def test_the_trials_say_whether_they_reached_their_goals(tmp_path: Path) -> None:
    counts = {"num": 20, "refused": 20, "accepted": 0, "accepted_rate_95": [0.0, 0.16]}
    gate = {
        "kinds": {"label_noise": {**counts, "accepted_by": {"drop": 3}}},
        "goal": {"accepted": 18, "refused": 20},
        "reached": True,
    }
    write_json(tmp_path / "gate.json", value=gate)
    said = gate_section(tmp_path / "gate.json")
    assert "**reached**" in said and "| as configured | 0 [0%, 16%] |" in said
    row = {
        "seeds": 2,
        "tripped": 2,
        "most_rounds_late": 1,
        "largest_fall": 0.2,
        "mean_success_before_hole": 0.9,
        "mean_success_last_round": 0.8,
        "mean_verification_steps": 10.0,
        "mean_real_steps_last": 100.0,
    }
    falls = [{"arm": "planted", "fall": 0.05}, {"arm": "planted", "fall": 0.2}]
    alarm = {"summary": {"clean": {**row, "tripped": 0}, "planted": row}, "trials": falls}
    write_json(tmp_path / "alarm.json", value=alarm)
    said = alarm_section(tmp_path / "alarm.json")
    assert "**not reached**" in said and "| planted | 2 of 2 | 1 of 2 | 1 | 20.0 |" in said
    write_json(tmp_path / "alarm.json", value={**alarm, "trials": falls[:1]})
    assert "**reached**" in alarm_section(tmp_path / "alarm.json")
