"""A player who sees everything, copies of episodes, and places that share a spot."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from dyna.envs.household import (
    ALFWORLD,
    SPLITS,
    Expert,
    Family,
    HouseholdGame,
    HouseholdWorld,
    HouseSpec,
    generate_house,
)
from dyna.envs.household.oracle import STUCK, Oracle, next_command
from dyna.types import Action, Context, Outcome, Start, Task, Turn
from tests.unit.dyna.envs.household_play import play

ALL = [family.value for family in Family]
TASK = Task(id="x", world="household", family="", split="train")


@pytest.mark.parametrize("naming", ["kind", "instance"])
def test_the_oracle_solves_every_house_from_any_state(naming: str) -> None:
    spec = HouseSpec(num_receptacles=0, num_objects=0, families=ALL, goal_naming=naming)
    for seed in range(60):
        game, rng = (
            HouseholdGame(generate_house(seed, spec=spec, vocabulary=ALFWORLD)),
            Random(seed),
        )
        for _ in range(seed % 3 * 20):
            game.step(rng.choice(game.admissible()))
        num = 0
        while not game.won and num < 20:
            assert game.step(next_command(game))[2]
            num += 1
        assert game.won, game.house.goal.text


def test_an_oracle_of_a_world_reads_the_episode_so_far() -> None:
    world = HouseholdWorld(families=ALL, num_receptacles=8, num_objects=6, max_turns=40)
    oracle = Oracle(world.game)
    for task in world.tasks(split="train", num=20):
        _, turns = play(world, task, behavior=oracle)
        assert turns[-1].outcome.success and len(turns) <= 14


def test_an_oracle_that_sees_no_way_says_so() -> None:
    spec = HouseSpec(num_receptacles=8, num_objects=6, families=["clean"])
    house = generate_house(0, spec=spec, vocabulary=ALFWORLD)
    gone = replace(house, objects=tuple(replace(o, receptacles=()) for o in house.objects))
    assert next_command(HouseholdGame(gone)) == STUCK
    blunt = replace(
        house,
        receptacles=tuple(replace(r, processes=frozenset()) for r in house.receptacles),
    )
    game = HouseholdGame(blunt)
    for _ in range(5):
        command = next_command(game)
        game.step(command)
    assert command == STUCK


@pytest.mark.parametrize("listed", [True, False])
def test_the_expert_finds_what_stands_at_the_same_spot(listed: bool) -> None:
    spec = HouseSpec(num_receptacles=0, num_objects=0, families=ALL, goal_naming="kind")
    expert = Expert(ALFWORLD)
    for seed in range(40):
        house = generate_house(seed, spec=spec, vocabulary=ALFWORLD)
        shared = tuple(replace(r, location=r.location // 3) for r in house.receptacles)
        game = HouseholdGame(replace(house, receptacles=shared))
        start, turns = Start(observation=game.reset()), list[Turn]()
        while not game.won and len(turns) < 80:
            context = Context(task=TASK, start=start, turns=turns, length=len(turns))
            action = Action(command=expert(context))
            observation, _, valid = game.step(action.command)
            possible = tuple(game.admissible()) if listed else None
            assert valid or not listed
            outcome = Outcome(observation=observation, admissible=possible)
            turns.append(Turn(action=action, outcome=outcome))
        assert game.won, (house.goal.text, [turn.action.command for turn in turns][-5:])


def test_splits_have_no_end_and_a_fingerprint_is_of_the_content() -> None:
    world, other = HouseholdWorld(), HouseholdWorld()
    assert world.splits == dict.fromkeys(SPLITS)
    tasks = world.tasks(split="train", num=30)
    prints = [world.fingerprint(task) for task in tasks]
    assert len(set(prints)) == 30
    assert prints == [other.fingerprint(task) for task in tasks]


def test_a_copy_of_an_episode_goes_on_by_itself() -> None:
    async def run() -> None:
        world = HouseholdWorld(max_turns=4)
        env = world.make()
        with pytest.raises(RuntimeError, match="call reset"):
            await env.clone()
        await env.reset(world.tasks(split="train", num=1)[0])
        await env.step(Action(command="look"))
        twin = await env.clone()
        place = world.house(world.tasks(split="train", num=1)[0]).receptacles[0].name
        await env.step(Action(command=f"go to {place}"))
        assert (await twin.step(Action(command="look"))).observation.endswith("you see nothing.")
        assert f"facing the {place}" in (await env.step(Action(command="look"))).observation
        assert (await twin.step(Action(command="look"))).stop is None
        assert (await twin.step(Action(command="look"))).stop == "step_limit"

    asyncio.run(run())
