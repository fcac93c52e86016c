"""Real episodes of small corridors, and the smallest language model that can learn them."""

from __future__ import annotations

import asyncio

from agents.tabular import TabularPolicy
from dyna.config import OptimizerConfig
from dyna.envs.corridor import CorridorWorld
from dyna.rendering import Renderer
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.seeding import derive_seed
from dyna.testing import tiny_model
from dyna.tokenizer import train_tokenizer
from dyna.training.trainer import TokenTrainer
from dyna.types import Source, Trajectory

OPTIMIZER = OptimizerConfig(learning_rate=4e-3, warmup_steps=4, tokens_per_batch=512)


def episodes(
    num: int, *, world_seed: int = 0, name: str = "e", num_doors: int = 4, max_turns: int = 4
) -> list[Trajectory]:
    """Walks at random; another `world_seed` swaps some of the doors."""
    world = CorridorWorld(num_doors=num_doors, seed=world_seed)
    return asyncio.run(
        rollout(
            [
                EpisodeSpec(task=task, episode_id=f"{name}{i}", seed=derive_seed(world_seed, i))
                for i, task in enumerate(world.tasks(split="train", num=num))
            ],
            policy=TabularPolicy(),
            make_env=lambda _: world.make(),
            limits=Limits(max_turns=max_turns),
            source=Source.REAL,
        )
    )


def make_renderer(*, max_context: int = 512) -> Renderer:
    walks = episodes(20)
    texts = [t.start.observation for t in walks]
    texts += [turn.outcome.observation + " [reward 0]" for t in walks for turn in t.turns]
    texts += [turn.action.command for t in walks for turn in t.turns]
    texts += ["You are outside. [reward 1; done; success]"] * 5
    return Renderer(train_tokenizer(texts), max_context=max_context)


def make_trainer(renderer: Renderer, *, seed: int = 0) -> TokenTrainer:
    model = tiny_model(len(renderer.tokenizer), seed=seed, initializer_range=0.06)
    return TokenTrainer(model, optimizer=OPTIMIZER)
