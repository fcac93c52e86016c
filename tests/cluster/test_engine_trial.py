"""A Tune trial reserves its engine actors with all the rest, and takes them along when it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from dyna.rllib import Dyna, DynaConfig
from tests.cluster.test_engine_actors import engine_actors, with_engines
from tests.cluster.tiny_build import tiny_config

pytestmark = [pytest.mark.ray, pytest.mark.cluster]


def test_a_trial_has_its_own_engine_actors(
    local_ray: str, model_folder: str, tmp_path: Path
) -> None:
    config = with_engines(replace(tiny_config(model_folder), rounds=0), num_actors=1)
    # Tune takes an AlgorithmConfig too, whatever its signature says.
    settings: Any = DynaConfig().dyna(run_config=config, build="tests.cluster.tiny_build")
    results = tune.Tuner(
        Dyna,
        param_space=settings,
        run_config=tune.RunConfig(name="sweep", storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert not results.errors
    assert results[0].metrics is not None
    assert results[0].metrics["dyna"]["engine/ready_actors"] == 2
    assert engine_actors() == []
