"""Every shipped config can be used: it loads, its names are known, its world takes its params."""

from __future__ import annotations

import inspect

import pytest

from dyna.config import Isolation
from dyna.configuring import load
from dyna.envs.catalog import find
from dyna.plugins import check_config, resolve
from experiments.cli import find_config, shipped_configs

WORLDS = ("alfworld", "scienceworld", "textworld", "toolbench", "webshop")


@pytest.mark.parametrize("name", shipped_configs())
def test_a_shipped_config_loads_and_its_world_takes_its_params(name: str) -> None:
    config = load(find_config(name))
    check_config(config)
    taken = inspect.signature(resolve("environments", config.world.name)).parameters
    assert set(config.world.params) <= set(taken)
    assert config.world.max_turns >= config.world.params.get("max_turns", 0)


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_a_config_for_the_tiny_model_and_one_for_a_large_one(name: str) -> None:
    tiny = load(find_config(name))
    assert {tiny.policy.model.path, tiny.world_model.model.path} == {"tiny"}
    large = load(find_config(f"{name}_qwen2.5-7b"))
    assert large.world.name == tiny.world.name == name
    assert large.policy.parser == ("toolbench" if name == "toolbench" else "react")
    assert large.policy.model.dtype == "bfloat16"


@pytest.mark.parametrize("name", shipped_configs())
def test_a_world_on_java_or_native_code_plays_in_processes(name: str) -> None:
    config = load(find_config(name))
    info = find(config.world.name)
    assert info is not None
    if info.java or info.name == "textworld":
        assert config.world.isolation is Isolation.PROCESS
