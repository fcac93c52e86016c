"""Every run of every shipped study is one that could be started; `make smoke-continual`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dyna.configuring import load
from dyna.plugins import check_config
from dyna.stream import Stream, world_of
from experiments.studies.continual.settings import available, plan, read
from experiments.usage import find_config

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("name", available())
def test_every_run_of_a_shipped_study_is_a_valid_config_at_one_real_budget(name: str) -> None:
    study = read(name)
    runs = plan(study, folder=Path("unused"))
    budgets: set[tuple[int, int]] = set()
    for job in runs.all:
        if job.seed != study.seeds[0]:
            continue
        config = load(find_config(job.settings[0]), overrides=job.settings[1:])
        check_config(config)
        stream = Stream.of(config)
        if job.arm in {*study.strategies, "joint"}:
            parts = stream.experiences
            opening = sum(p.real.demonstrations + p.real.explorations for p in parts)
            budgets.add((opening, sum(p.rounds * p.real.episodes_per_round for p in parts)))
            assert len(world_of(config).params["worlds"]) == len(study.experiences)
    assert len(budgets) == 1
    assert [job.seed for job in runs.joint] == (study.seeds if "joint" in study.references else [])
