"""Regularizers in the learner and by config: composed, resumed, refused when misspelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dyna.config import GateConfig, PluginConfig, RunConfig, WorldModelLearnerConfig
from dyna.configuring import ConfigError, load
from dyna.plugins import PluginError, build, check_config
from dyna.replay import ReservoirBuffer
from dyna.replay.buffer import TrajectoryBuffer
from experiments.build import build_player, build_run, build_trainers
from tests.unit.worldmodels.corridor_text import (
    OPTIMIZER,
    episodes,
    make_renderer,
    make_trainer,
)
from worldmodels.learner import LLMWorldModelLearner

RENDERER = make_renderer()
CONFIG = WorldModelLearnerConfig(
    optimizer=OPTIMIZER,
    first_epochs=2.0,
    epochs=1.0,
    gate=GateConfig(holdout_fraction=0.3),
    regularizers=[
        PluginConfig(name="averaging", params={"alphas": [0.5, 1.0]}),
        PluginConfig(name="lwf", params={"weight": 0.5}),
        PluginConfig(name="ewc", params={"num_samples": 4}),
    ],
)


def make_learner(config: WorldModelLearnerConfig = CONFIG) -> LLMWorldModelLearner:
    return LLMWorldModelLearner(
        make_trainer(RENDERER),
        RENDERER,
        config,
        regularizers=[build("regularizers", part) for part in config.regularizers],
    )


def buffer() -> ReservoirBuffer:
    return ReservoirBuffer(max_transitions=10_000, max_bytes=2**22, seed=0)


def day(learner: LLMWorldModelLearner, replay: TrajectoryBuffer, *, number: int) -> dict[str, Any]:
    """One update; every second one begins an experience, a corridor with other doors."""
    if number % 2 == 0:
        learner.begin_experience(f"corridor{number // 2}")
    fresh = episodes(6, world_seed=number // 2, name=f"day{number}-")
    for trajectory in fresh:
        replay.add(trajectory)
    return learner.update(fresh, replay)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_resumed_learner_goes_on_to_the_last_bit(cut: int, tmp_path: Path) -> None:
    straight, replay = make_learner(), buffer()
    for number in range(4):
        day(straight, replay, number=number)
    begun, kept = make_learner(), buffer()
    for number in range(cut):
        day(begun, kept, number=number)
    begun.save(str(tmp_path / "learner"))
    kept.save(str(tmp_path / "replay"))
    resumed, restored = make_learner(), buffer()
    resumed.load(str(tmp_path / "learner"))
    restored.load(str(tmp_path / "replay"))
    for number in range(cut, 4):
        day(resumed, restored, number=number)
    expected = straight.live_weights()
    for name, tensor in resumed.live_weights().items():
        assert torch.equal(tensor, expected[name]), name


def test_each_says_what_it_did_and_all_say_what_they_hold() -> None:
    learner, replay = make_learner(), buffer()
    for number in range(3):
        metrics = day(learner, replay, number=number)
    assert metrics["model/averaging_alpha"] in (0.5, 1.0)
    assert metrics["model/lwf_samples"] > 0
    assert metrics["model/ewc_penalty"] > 0.0
    # Old weights, their frozen copy, the anchor and the Fisher are as large as the model each.
    size = sum(
        tensor.numel() for tensor in dict(learner._trainer.model.named_parameters()).values()
    )
    assert metrics["model/regularizer_bytes"] > 4 * 4 * size


def test_a_save_of_other_regularizers_is_refused(tmp_path: Path) -> None:
    make_learner().save(str(tmp_path))
    only = WorldModelLearnerConfig(optimizer=OPTIMIZER, regularizers=[PluginConfig(name="l2")])
    with pytest.raises(ValueError, match=r"OnlineEWC.*the run has \['L2Anchor'\]"):
        make_learner(only).load(str(tmp_path))


@pytest.mark.parametrize("name", ["fifo", "experience_balanced"])
def test_two_regularizers_go_with_any_buffer_by_config(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(
        "world: {name: corridor, max_turns: 4}\n"
        "policy: {name: random}\n"
        "world_model_learner:\n"
        "  first_epochs: 0.5\n  epochs: 2.0\n"
        "  regularizers:\n"
        "    - {name: l2, params: {strength: 0.01, every_update: true}}\n"
        "    - {name: averaging, params: {alphas: [0.5, 1.0]}}\n"
        f"replay: {{name: {name}}}\n"
        "real: {demonstrations: 0, explorations: 6, exploration: {name: random},"
        " episodes_per_round: 6, group_size: 1}\n"
        "imagination: {episodes_per_round: 0}\n"
        "evaluation: {num_tasks: 0, fidelity_episodes: 0, imagined: false}\n"
    )
    config = load(path)
    check_config(config)
    player = build_player(config)
    trainers = build_trainers(config)
    run = build_run(config, player=player, crew=player.crew, trainers=trainers)
    rounds = dict(run.loop.run(first_round=0, last_round=1))
    assert rounds[0]["model/regularizer_bytes"] == 0.0
    assert rounds[1]["model/l2_penalty"] >= 0.0
    assert rounds[1]["model/averaging_alpha"] in (0.5, 1.0)
    assert rounds[1]["model/regularizer_bytes"] > 0.0


def test_a_misspelled_regularizer_or_parameter_is_refused(tmp_path: Path) -> None:
    config = RunConfig(
        world_model_learner=WorldModelLearnerConfig(regularizers=[PluginConfig(name="ewcc")])
    )
    with pytest.raises(PluginError, match="regularizers `ewcc` is unknown; did you mean `ewc`"):
        check_config(config)
    with pytest.raises(PluginError, match="has no parameter `gama`; did you mean `gamma`"):
        build("regularizers", PluginConfig(name="ewc", params={"gama": 0.5}))
    path = tmp_path / "run.yaml"
    path.write_text("world_model_learner: {regularizers: [{nam: ewc}]}\n")
    with pytest.raises(
        ConfigError, match=r"unknown key `world_model_learner.regularizers\[0\].nam`"
    ):
        load(path)
