"""The study of worlds: what it measures is what the page says, and a stopped study goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dyna.files import read_json, write_json
from experiments.bench import worlds as bench
from experiments.report.sections import write_section
from experiments.studies.worlds import measure_fidelity, study
from experiments.studies.worlds_page import write_page

CHANGES = (
    "policy.model.path=tiny", "world_model.model.path=tiny", "rounds=1", "world.max_turns=6",
    "real.demonstrations=3", "real.explorations=3", "real.episodes_per_round=2",
    "policy_learner.imitation_epochs=1", "policy_learner.epochs=1",
    "world_model_learner.first_epochs=1", "world_model_learner.epochs=1",
    "imagination.episodes_per_round=4", "imagination.batches_per_round=1",
    "evaluation.num_tasks=2", "evaluation.fidelity_episodes=3",
)  # fmt: skip
MARKERS = ("worlds-study", "worlds-beginnings")


@pytest.mark.slow
def test_a_study_of_the_household_is_written_to_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).resolve().parents[3]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
    folder = tmp_path / "run"
    found = study("household", changes=CHANGES, folder=folder, minutes=10)
    assert found["rounds_played"] == 1 and 0 < found["cpu_minutes"] < 10
    assert found["before"]["real_steps"] < found["after"]["real_steps"]
    groups = found["fidelity"]
    assert groups["all"]["turns"] == groups["valid"]["turns"] + groups["invalid"]["turns"]
    assert sum(kind["turns"] for kind in groups["kinds"].values()) == groups["all"]["turns"]
    assert 0 <= groups["all"]["word_f1"] <= 1
    again = study("household", changes=CHANGES, folder=folder, minutes=10)
    assert again["cpu_minutes"] == found["cpu_minutes"], "a finished run is not played again"
    assert measure_fidelity(folder) == groups, "the same probes and weights, the same figures"
    docs = tmp_path / "docs"
    (docs / "results").mkdir(parents=True)
    write_json(docs / "results" / "worlds_household.json", value=found)
    page = "\n".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->" for name in MARKERS)
    (docs / "worlds.md").write_text(f"# Worlds\n{page}\nthe end\n")
    write_page(docs)
    text = (docs / "worlds.md").read_text()
    assert "| household | invalid actions |" in text and text.endswith("the end\n")
    assert f"| {found['after']['real_steps']:,.0f} |" in text


def test_a_run_that_fails_is_told_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"rouns=1 ended with 2; see .*log\.txt"):
        study("household", changes=["rouns=1"], folder=tmp_path / "run", minutes=1)


def test_a_page_without_the_section_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing to fill")
    assert not write_section(page, name="figures", text="| 1 |")
    assert page.read_text() == "nothing to fill"
    page.write_text("a <!-- figures:begin --> old <!-- figures:end --> z")
    assert write_section(page, name="figures", text="| 1 |")
    assert page.read_text() == "a <!-- figures:begin -->\n\n| 1 |\n\n<!-- figures:end --> z"


def test_the_benchmark_measures_a_world_and_lists_one_that_is_not_here(tmp_path: Path) -> None:
    params = {"num_doors": 3}
    found = bench.measure("corridor", params=params, seconds=0.1)
    assert found["steps"] >= 3 * found["episodes"] > 0
    assert found["steps_per_cpu_s"] > 1000 and found["resident_mib"] > 10
    absent = bench.bench("alfworld", params={"data": str(tmp_path)})
    assert str(tmp_path) in absent["missing"]
    machine = {"cores": 2, "processor": "any", "python": "3.11"}
    page = bench.to_markdown(
        {"machine": machine, "worlds": {"corridor": found, "alfworld": absent}}
    )
    assert "| corridor |" in page and "`alfworld` was not measured" in page


def test_params_of_a_benchmark_can_be_changed() -> None:
    by_world = bench.settings(["webshop.num_products=5", "alfworld.data=folder"])
    assert by_world["webshop"]["num_products"] == 5
    assert by_world["alfworld"]["data"] == "folder"
    with pytest.raises(ValueError, match=r"WORLD\.param=value"):
        bench.settings(["nowhere=1"])


def test_results_that_are_there_can_be_read() -> None:
    results = Path(__file__).resolve().parents[3] / "docs" / "results"
    for path in results.glob("worlds_*.json"):
        found = read_json(path)
        assert found["after"]["tasks"] >= 20 and found["cpu_minutes"] <= found["limit_minutes"] + 1
