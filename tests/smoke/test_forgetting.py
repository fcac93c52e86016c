"""What regularizers keep of a first household when a second one, in other words, is learned.

A model learns to pick and place in one vocabulary, then to heat in an invented one, and what it
still predicts exactly of the first is counted on held-out episodes. Without a guard it loses 31
points of 93 (with an adapter 38 of 91); measured, the guards lose 6 (`l2`), 0 (`ewc`), 15 (`lwf`,
which sees nothing old here), 1 (`lora_per_experience`) and 3 (`averaging`, which sees 3 old
episodes; replaying those alone loses 4). Each must lose less than 0.6 of what no guard loses. The
run is the same at every repetition; were a guard without effect and its losses fresh draws, with
some 280 turns counted (a standard error of 3 points), it would pass once in 400 times.
The figures are logged: `pytest -m smoke tests/smoke/test_forgetting.py --log-cli-level=INFO`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.scripted import ExplorerPolicy
from dyna.config import LoRAConfig, ModelConfig, OptimizerConfig, PluginConfig
from dyna.envs.household import HouseholdWorld
from dyna.plugins import build
from dyna.protocols import ModelUpdate
from dyna.rendering import Renderer
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.seeding import derive_seed
from dyna.training.models import load_model, load_tokenizer
from dyna.training.trainer import TokenTrainer
from dyna.types import Source, TrainingSample, Trajectory
from worldmodels.regularizers import Regularizers
from worldmodels.scoring import score_turns

pytestmark = pytest.mark.smoke

SMALL: dict[str, Any] = {"num_receptacles": 3, "num_objects": 2}
FIRST = HouseholdWorld(**SMALL, rooms=["kitchen"], families=["pick_and_place"])
SECOND = HouseholdWorld(**SMALL, families=["heat"], vocabulary="invented:3")
EPOCHS = 5
NUM_REPLAYED = 3
"""Old episodes that are replayed, of 24, once in every pass."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """A model that has learned the first household."""

    renderer: Renderer
    trainer: TokenTrainer
    start: dict[str, Tensor]
    """Its weights before it had."""
    weights: dict[str, Tensor]
    exact: float
    """What it predicts exactly of it."""


@cache
def episodes(world: HouseholdWorld, *, num: int, split: str, seed: int) -> list[Trajectory]:
    specs = [
        EpisodeSpec(task=task, episode_id=f"{split}{i}", seed=derive_seed(seed, i))
        for i, task in enumerate(world.tasks(split=split, num=num))
    ]
    played = rollout(
        specs,
        policy=ExplorerPolicy(explorer=world.explorer),
        make_env=lambda _: world.make(),
        limits=Limits(max_turns=20),
        source=Source.REAL,
    )
    return asyncio.run(played)


def samples(world: HouseholdWorld, *, renderer: Renderer) -> tuple[TrainingSample, ...]:
    shown = episodes(world, num=24, split="train", seed=0)
    rendered = [renderer.model_sample(t, use_hidden_state=True) for t in shown]
    return tuple(sample for sample in rendered if sample is not None)


def exact(trainer: TokenTrainer, *, renderer: Renderer, world: HouseholdWorld) -> float:
    held_out = episodes(world, num=16, split="valid_seen", seed=1)
    scores = score_turns(trainer.model, renderer, held_out, use_hidden_state=True)
    return sum(score.exact for score in scores) / len(scores)


@cache
def learned(lora: int) -> Learned:
    torch.set_num_threads(1)
    config = ModelConfig(path="base", lora=LoRAConfig(rank=lora, alpha=2.0 * max(lora, 1)))
    renderer = Renderer(load_tokenizer(config), max_context=config.max_context)
    rate = 1.2e-2 if lora else 3e-3
    optimizer = OptimizerConfig(learning_rate=rate, tokens_per_batch=1024)
    trainer = TokenTrainer(load_model(config), optimizer=optimizer)
    start = trainer.weights()
    trainer.train(samples(FIRST, renderer=renderer), epochs=3, seed=0)
    return Learned(
        renderer=renderer,
        trainer=trainer,
        start=start,
        weights=trainer.weights(),
        exact=exact(trainer, renderer=renderer, world=FIRST),
    )


def forgotten(*guards: PluginConfig, lora: int = 0, replayed: int = 0) -> float:
    """What a model that learns the second household under `guards` loses of the first."""
    model = learned(lora)
    trainer, regularizers = model.trainer, Regularizers([build("regularizers", g) for g in guards])
    old = samples(FIRST, renderer=model.renderer)
    new = samples(SECOND, renderer=model.renderer)
    update = ModelUpdate(trainer=trainer, fresh=old, replayed=(), number=0, seed=0)
    trainer.load_weights(model.start)
    regularizers.begin_experience("first")
    regularizers.begin(update)
    trainer.load_weights(model.weights)  # as they were when it had learned the first
    regularizers.end(update)
    regularizers.note_verdict(True)
    regularizers.begin_experience("second")
    rehearsed = old[:replayed] * EPOCHS
    begun = regularizers.begin(replace(update, fresh=new, replayed=rehearsed, number=1, seed=1))
    passes: Sequence[TrainingSample] = [*begun.fresh * EPOCHS, *begun.replayed]
    trainer.train(passes, epochs=1, seed=1, penalties=begun.penalties)
    metrics = regularizers.end(begun)
    kept = exact(trainer, renderer=model.renderer, world=FIRST)
    gained = exact(trainer, renderer=model.renderer, world=SECOND)
    _log.info(
        "%-40s lora %d, %d replayed: %.3f of %.3f kept, %.3f of the new; %s",
        [(guard.name, guard.params) for guard in guards],
        lora,
        replayed,
        kept,
        model.exact,
        gained,
        metrics,
    )
    return model.exact - kept


@pytest.mark.parametrize(
    ("guard", "lora"),
    [
        (PluginConfig(name="l2", params={"strength": 0.03}), 0),
        (PluginConfig(name="ewc"), 0),
        (PluginConfig(name="lwf", params={"on_fresh": True}), 0),
        (PluginConfig(name="lora_per_experience"), 8),
    ],
    ids=lambda value: value.name if isinstance(value, PluginConfig) else f"rank {value}",
)
def test_a_guard_without_replay_forgets_less_than_none(guard: PluginConfig, lora: int) -> None:
    unguarded = unguarded_loss(lora)
    assert unguarded > 0.2
    assert forgotten(guard, lora=lora) < 0.6 * unguarded


def test_averaging_chosen_by_a_few_replayed_episodes_forgets_less_than_no_guard() -> None:
    averaging = PluginConfig(name="averaging")
    assert forgotten(averaging, replayed=NUM_REPLAYED) < 0.6 * unguarded_loss(0)


@cache
def unguarded_loss(lora: int) -> float:
    return forgotten(lora=lora)
