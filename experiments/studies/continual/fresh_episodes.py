"""Real episodes by scripted players, and one tiny world model for all worlds of a study.

What a world model is asked to learn in the studies of drift and of changed rules needs no policy:
an expert and an explorer take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from agents.scripted import ExpertPolicy
from dyna.config import OptimizerConfig, RunConfig
from dyna.envs.household import HouseholdWorld
from dyna.rendering import Renderer
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.seeding import derive_seed
from dyna.training.models import load_model
from dyna.training.trainer import TokenTrainer
from dyna.types import Context, Source, Trajectory
from experiments.build import build_renderer
from experiments.tiny.making import RECORD, make_tiny_model, put_model


def play(
    world: HouseholdWorld,
    *,
    name: str,
    num: int,
    offset: int = 0,
    split: str = "train",
    seed: int = 0,
    max_turns: int = 20,
    expert: Callable[[Context], str] | None = None,
    explorer: Callable[[Context], str] | None = None,
) -> list[Trajectory]:
    """`num` episodes, the expert's and the explorer's by turns; ids begin with `name`.

    Without others the players are the world's own.
    """
    tasks = world.tasks(split=split, num=num, offset=offset)
    specs = [
        EpisodeSpec(
            task=task,
            episode_id=f"{name}/{seed}/{offset + i}",
            seed=derive_seed(seed, name, offset + i),
            behavior="exploration" if i % 2 else "expert",
        )
        for i, task in enumerate(tasks)
    ]
    played: dict[str, Trajectory] = {}
    scripts = {"expert": expert or world.expert, "exploration": explorer or world.explorer}
    for behavior, script in scripts.items():
        found = asyncio.run(
            rollout(
                [spec for spec in specs if spec.behavior == behavior],
                policy=ExpertPolicy(script),
                make_env=lambda _: world.make(),
                limits=Limits(max_turns=max_turns),
                source=Source.REAL,
            )
        )
        played |= {episode.id: episode for episode in found}
    return [played[spec.episode_id] for spec in specs]


def make_model(episodes: Sequence[Trajectory], *, folder: Path, seed: int = 0) -> RunConfig:
    """A tiny model that knows the words of `episodes`, made once; the config that names it."""
    config = RunConfig(seed=seed)
    model = replace(config.world_model.model, path="tiny")
    config = replace(config, world_model=replace(config.world_model, model=model))
    if not (folder / RECORD).exists():
        make_tiny_model(episodes, folder=folder, config=config)
    return put_model(config, path=str(folder))


def fresh_trainer(
    config: RunConfig, *, optimizer: OptimizerConfig
) -> tuple[TokenTrainer, Renderer]:
    """The model as it was made, and what writes its samples."""
    trainer = TokenTrainer(load_model(config.world_model.model), optimizer=optimizer)
    return trainer, build_renderer(config, "world_model")


__all__ = ["fresh_trainer", "make_model", "play"]
