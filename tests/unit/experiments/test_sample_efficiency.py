"""The study's own code; its runs are a command of their own."""

from __future__ import annotations

from pathlib import Path

from dyna.configuring import load
from dyna.plugins import check_config
from experiments.cli import find_config
from experiments.studies.sample_efficiency import read_study, write_between_markers


def test_every_arm_is_a_valid_config_with_the_same_real_budget_and_start() -> None:
    study = read_study()
    budgets, starts = set(), set()
    for changes in study["arms"].values():
        config = load(
            find_config(study["config"]), overrides=[*study["common"], *study["report"], *changes]
        )
        check_config(config)
        budgets.add(config.max_real_steps)
        starts.add((config.policy.model.path, config.real.demonstrations))
        assert config.evaluation.num_tasks >= 200
    assert len(budgets) == 1 and budgets.pop() > 0
    assert len(starts) == 1


def test_every_tuning_setting_is_a_valid_config_on_other_houses() -> None:
    study = read_study()
    reported = load(find_config(study["config"]), overrides=study["report"]).evaluation.first_task
    for arm, settings in study["tuning"].items():
        for changes in settings:
            config = load(
                find_config(study["config"]),
                overrides=[*study["common"], *study["arms"][arm], *changes],
            )
            assert config.evaluation.first_task + config.evaluation.num_tasks <= reported


def test_the_arms_differ_as_their_names_say() -> None:
    study = read_study()
    arms = {
        name: load(find_config(study["config"]), overrides=[*study["common"], *changes])
        for name, changes in study["arms"].items()
    }
    for real_only in ("filtered_bc", "real_rl"):
        assert arms[real_only].imagination.episodes_per_round == 0
        assert arms[real_only].real.explorations == 0
    assert arms["dyna_frozen"].world_model_learner.frozen_after_first
    assert not arms["dyna"].world_model_learner.frozen_after_first
    assert arms["dyna"].imagination.episodes_per_round > 0


def test_text_is_replaced_between_the_markers_alone(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text(
        "before\n<!-- sample-efficiency:begin -->\nold\n<!-- sample-efficiency:end -->\nafter\n"
    )
    write_between_markers(page, text="| new |")
    text = page.read_text()
    assert "old" not in text and "| new |" in text
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    write_between_markers(page, text="| newer |")
    assert page.read_text().count("sample-efficiency:begin") == 1
