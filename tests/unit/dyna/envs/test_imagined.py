"""A world model as a world, with a table that has seen everything as the model."""

from __future__ import annotations

import asyncio

import pytest

from agents.scripted import RandomPolicy
from dyna.envs.corridor import CorridorWorld
from dyna.envs.gymnasium import TextEnv
from dyna.envs.imagined import ImaginedWorld
from dyna.replay import FifoBuffer
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.types import Action, Outcome, Source, StopReason, Trajectory
from worldmodels.tabular import TabularWorldModel

DOORS = 4


def learned() -> tuple[CorridorWorld, TabularWorldModel]:
    """A corridor, and a model that has been everywhere in it."""
    world = CorridorWorld(num_doors=DOORS, seed=2)
    episodes: list[Trajectory] = asyncio.run(
        rollout(
            [
                EpisodeSpec(task=task, episode_id=task.id, seed=index)
                for index, task in enumerate(world.tasks(split="train", num=5))
            ],
            policy=RandomPolicy(),
            make_env=lambda _: world.make(),
            limits=Limits(max_turns=200),
            source=Source.REAL,
        )
    )
    model = TabularWorldModel()
    model.update(episodes, FifoBuffer(max_transitions=10))
    return world, model


def test_a_dream_of_a_known_world_is_that_world() -> None:
    world, model = learned()
    dreams = ImaginedWorld(world, model=model)
    task = dreams.tasks(split="valid_seen", num=1)[0]

    async def play() -> tuple[list[Outcome], list[Outcome]]:
        real, dream = world.make(), dreams.make()
        assert await dream.reset(task) == await real.reset(task)
        pairs = [
            (await real.step(Action(command=way)), await dream.step(Action(command=way)))
            for way in world.way
        ]
        await dream.close()
        await dream.close()
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs]

    real, dreamt = asyncio.run(play())
    for there, here in zip(real, dreamt, strict=True):
        assert (here.observation, here.reward, here.stop) == (
            there.observation,
            there.reward,
            there.stop,
        )
        assert here.admissible is None
    assert dreamt[-1].success


def test_a_dream_is_cut_at_its_horizon_and_where_the_model_knows_nothing() -> None:
    world, model = learned()
    task = world.tasks(split="train", num=1)[0]

    async def play(dreams: ImaginedWorld, *commands: str) -> list[Outcome]:
        env = dreams.make()
        await env.reset(task)
        return [await env.step(Action(command=command)) for command in commands]

    cut = asyncio.run(play(ImaginedWorld(world, model=model, horizon=2), *world.way[:2]))
    assert [o.stop for o in cut] == [None, StopReason.HORIZON] and not cut[-1].terminated
    [unknown] = asyncio.run(play(ImaginedWorld(world, model=model), "fly"))
    assert unknown.stop is StopReason.UNTRUSTED and unknown.reward == 0.0
    with pytest.raises(RuntimeError, match="call reset first"):
        asyncio.run(play(ImaginedWorld(world, model=model, horizon=1), "go left", "go left"))
    with pytest.raises(ValueError, match="horizon must be >= 0"):
        ImaginedWorld(world, model=model, horizon=-1)


def test_a_dream_is_an_environment_of_gymnasium() -> None:
    world, model = learned()
    env = TextEnv(ImaginedWorld(world, model=model), num_tasks=2)
    observation, _ = env.reset(seed=0)
    assert observation.startswith("You are in room 1.")
    for way in world.way:
        observation, reward, terminated, truncated, info = env.step(way)
    assert (observation, reward, terminated, truncated) == ("You are outside.", 1.0, True, False)
    assert info["success"] and info["confidence"] == 1.0
    env.reset(seed=0)
    _, _, terminated, truncated, info = env.step("fly")
    assert (terminated, truncated, info["stop"]) == (False, True, "untrusted")
