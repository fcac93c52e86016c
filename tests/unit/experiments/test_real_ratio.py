"""The sweep over the real ratio: what its trials are."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna.configuring import ConfigError, changed
from dyna.files import read_json
from experiments.studies.real_ratio import arms, base, read_study, to_markdown


def test_every_trial_has_the_same_budget_and_seeds_have_houses_of_their_own() -> None:
    study = read_study()
    config = base(study)
    trials = [changed(config, changes=arm) for arm in arms(study)]
    assert len(trials) == len(study["ratios"]) * len(study["seeds"])
    totals = {t.real.episodes_per_round + t.imagination.episodes_per_round for t in trials}
    assert totals == {study["episodes_per_round"]}
    assert len({(t.seed, t.world.first_task) for t in trials}) == len(study["seeds"])
    assert all(t.evaluation.every == 1 for t in trials), "trials are compared after every round"


def test_the_page_holds_the_table_of_what_is_on_record() -> None:
    root = Path(__file__).parents[3]
    found = read_json(root / "docs/results/real_ratio.json")
    assert len(found["trials"]) == len(arms(read_study()))
    assert to_markdown(found) in (root / "docs/cluster.md").read_text(encoding="utf-8")


def test_a_changed_config_keeps_the_rest_and_is_checked() -> None:
    config = base(read_study())
    other = changed(config, changes={"real.group_size": 2, "world.params": {"rooms": ["attic"]}})
    assert other.real.group_size == 2 and other.policy_learner == config.policy_learner
    assert other.world.params["rooms"] == ["attic"]
    assert other.world.params["num_objects"] == config.world.params["num_objects"]
    assert changed(config, changes={}) == config
    with pytest.raises(ConfigError, match=r"did you mean `real[.]group_size`"):
        changed(config, changes={"real.group_sise": 2})
    with pytest.raises(ConfigError, match="must be >= 1"):
        changed(config, changes={"imagination.horizon": 0})
