"""Several worlds behind one: tasks find their way home, and nobody else sees where they belong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agents.scripted import ExpertPolicy
from dyna.envs.household import HouseholdWorld
from dyna.envs.stream import StreamWorld
from dyna.plugins import PluginError
from dyna.rollout import EpisodeSpec, Limits, play_episode
from dyna.stream import experience_of
from dyna.testing import check_world
from dyna.types import Action, Context, Source, Start, Task

SMALL: dict[str, Any] = {"rooms": ["kitchen"], "num_receptacles": 4, "num_objects": 3}
WORLDS: dict[str, dict[str, Any]] = {
    "place": {"name": "household", "params": SMALL},
    "heat": {"name": "household", "params": {**SMALL, "families": ["heat"]}},
    "walk": {"name": "corridor", "params": {"num_doors": 2}},
}


@pytest.fixture(scope="module")
def world() -> StreamWorld:
    return StreamWorld(worlds=WORLDS)


def test_a_split_of_one_experience_is_that_of_its_world(world: StreamWorld) -> None:
    own = HouseholdWorld(**WORLDS["heat"]["params"])
    tasks = world.tasks(split="heat:train", num=3, offset=2)
    assert [task.id for task in tasks] == [
        f"heat/{task.id}" for task in own.tasks(split="train", num=3, offset=2)
    ]
    assert {experience_of(task) for task in tasks} == {"heat"}
    assert {world.fingerprint(task) for task in tasks} == {
        own.fingerprint(task) for task in own.tasks(split="train", num=3, offset=2)
    }


def test_a_world_may_call_a_split_by_another_name() -> None:
    houses = {name: WORLDS[name] for name in ("place", "heat")}
    plain = StreamWorld(worlds=houses)
    renamed = StreamWorld(worlds=houses, splits={"heat": {"held_out": "valid_unseen"}})
    assert renamed.tasks(split="heat:held_out", num=3) == plain.tasks(
        split="heat:valid_unseen", num=3
    )
    assert "held_out" not in renamed.splits, "the other world has no such split"
    everywhere = {name: {"held_out": "valid_unseen"} for name in houses}
    renamed = StreamWorld(worlds=houses, splits=everywhere)
    assert renamed.splits["held_out"] == plain.splits["valid_unseen"]
    assert renamed.tasks(split="held_out", num=5) == plain.tasks(split="valid_unseen", num=5)


def test_a_split_of_all_takes_turns_and_goes_on_where_it_stopped(world: StreamWorld) -> None:
    whole = world.tasks(split="valid_unseen", num=8)
    assert [experience_of(task) for task in whole] == ["place", "heat", "walk"] * 2 + [
        "place",
        "heat",
    ]
    parts = [world.tasks(split="valid_unseen", num=4, offset=offset) for offset in (0, 4)]
    assert [*parts[0], *parts[1]] == whole


def test_tasks_of_every_experience_are_played_in_one_env(world: StreamWorld) -> None:
    async def play() -> list[bool]:
        env = world.make()
        policy = ExpertPolicy(expert=world.expert)
        won: list[bool] = []
        for task in world.tasks(split="train", num=8):
            if experience_of(task) == "walk":
                start = await env.reset(task)
                assert "room" in start.observation.lower()
                await env.step(Action(command="go left"))
                continue
            episode = await play_episode(
                EpisodeSpec(task=task, episode_id=task.id),
                policy=policy,
                env=env,
                limits=Limits(max_turns=40),
                source=Source.REAL,
            )
            won.append(episode.success)
        await env.close()
        return won

    won = asyncio.run(play())
    assert len(won) == 6 and all(won)


def test_variations_stay_in_their_experience(world: StreamWorld) -> None:
    async def vary() -> Task | None:
        env = world.make()
        task = world.tasks(split="heat:train", num=1)[0]
        varied = world.vary(task, await env.reset(task), seed=3)
        return varied and varied[0]

    other = asyncio.run(vary())
    assert other is not None and experience_of(other) == "heat" and other.family == "heat"


def _context(task: Task) -> Context:
    return Context(task=task, start=Start(observation=""), turns=(), length=0)


def test_what_is_not_there_is_named(world: StreamWorld) -> None:
    with pytest.raises(ValueError, match="no experience 'haet' in the stream; did you mean"):
        world.tasks(split="haet:train", num=1)
    task = world.tasks(split="walk:train", num=1)[0]
    with pytest.raises(ValueError, match="'walk' has no expert"):
        world.expert(_context(task))
    with pytest.raises(ValueError, match="'walk' has no explorer"):
        world.explorer(_context(task))
    with pytest.raises(ValueError, match="at least one experience"):
        StreamWorld(worlds={})
    with pytest.raises(PluginError, match="housohold"):
        StreamWorld(worlds={"a": {"name": "housohold"}})
    stranger = HouseholdWorld(**SMALL).tasks(split="train", num=1)[0]
    with pytest.raises(ValueError, match="of experience ''"):
        asyncio.run(world.make().reset(stranger))


def test_the_contract_holds_for_a_stream() -> None:
    check_world(StreamWorld(worlds={name: WORLDS[name] for name in ("place", "heat")}))
