"""What travels to the actors, and what is refused before one starts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dyna.cluster.connection import connect
from dyna.config import Backend, PluginConfig, RunConfig, RuntimeConfig, Sharding
from dyna.rllib import DynaConfig
from dyna.rllib.parts import find_factory, freeze, thaw


def test_a_config_survives_the_way_to_an_actor() -> None:
    config = replace(
        RunConfig(seed=7),
        runtime=RuntimeConfig(backend=Backend.RLLIB, num_env_runners=2),
        real=replace(RunConfig().real, exploration=PluginConfig(name="random", params={"a": [1]})),
    )
    assert thaw(freeze(config)) == config
    assert freeze(config)["runtime"]["backend"] == "rllib"
    assert type(freeze(config)["runtime"]["backend"]) is str


def test_actors_get_the_cpus_and_gpus_of_the_config() -> None:
    runtime = RuntimeConfig(
        backend=Backend.RLLIB,
        num_env_runners=2,
        cpus_per_env_runner=0.5,
        gpus_per_env_runner=0.25,
        num_learners=2,
        gpus_per_learner=1.0,
        sharding=Sharding.FSDP,
    )
    settings = DynaConfig().dyna(run_config=RunConfig(runtime=runtime))
    assert (settings.num_env_runners, settings.num_cpus_per_env_runner) == (2, 0.5)
    assert settings.num_gpus_per_env_runner == 0.25
    assert (settings.num_learners, settings.num_gpus_per_learner) == (2, 1.0)
    # A sharded model is loaded into main memory, whatever GPU its parts will be on.
    specs: Any = settings.get_multi_rl_module_spec().rl_module_specs
    for spec in specs.values():
        assert spec.model_config["device"] == "cpu"


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(TypeError, match="rounds_"):
        thaw({"rounds_": 3})


def test_a_factory_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no module 'experiments\.nothing'"):
        find_factory("experiments.nothing")
    with pytest.raises(ValueError, match="must have build_player and build_run"):
        find_factory("dyna.seeding")


def test_too_small_an_object_store_is_refused_before_ray_is_started() -> None:
    with pytest.raises(ValueError, match="78643200"):
        connect(RuntimeConfig(), object_store_bytes=10**6)
