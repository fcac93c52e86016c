"""Explorers err as they are told to, and reach the near misses that a world model must see."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from dyna.envs.household import Family, HouseholdWorld
from dyna.envs.household.exploration import NearMiss, NoisyExpert
from dyna.envs.household.transcript import kind_of, read_goal, read_transcript
from dyna.types import Context
from tests.unit.dyna.envs.household_play import play

ALL = [family.value for family in Family]


def test_near_misses_put_right_things_wrong_and_wrong_things_right_and_then_win() -> None:
    world = HouseholdWorld(max_turns=40)
    behavior = NearMiss(world.expert, vocabulary=world.vocabulary)
    right_wrong = wrong_right = wins = 0
    tasks = world.tasks(split="train", num=300)
    for task in tasks:
        start, turns = play(world, task, behavior=behavior)
        context = Context(task=task, start=start, turns=turns, length=len(turns))
        belief = read_transcript(context)
        assert belief.goal is not None
        for thing, place in belief.moves:
            right_wrong += belief.goal.wants(thing) and not belief.goal.is_target(place)
            wrong_right += not belief.goal.wants(thing) and belief.goal.is_target(place)
        wins += turns[-1].outcome.success
    assert right_wrong >= 25
    assert wrong_right >= 25
    assert wins >= 290


@pytest.mark.parametrize("naming", ["kind", "instance"])
def test_near_misses_of_every_family_are_won_in_the_end(naming: str) -> None:
    world = HouseholdWorld(
        families=ALL, num_receptacles=8, num_objects=7, max_turns=60, goal_naming=naming
    )
    behavior = NearMiss(world.expert, vocabulary=world.vocabulary)
    tasks = world.tasks(split="train", num=120)
    episodes = [play(world, task, behavior=behavior)[1] for task in tasks]
    assert sum(turns[-1].outcome.success for turns in episodes) >= 114
    vain = [turn.action.command for turns in episodes for turn in turns if not turn.outcome.valid]
    assert all(command.startswith("take ") for command in vain)
    assert bool(vain) == (naming == "instance")


def test_what_is_wanted_is_reached_for_where_other_things_are_and_it_is_not() -> None:
    world = HouseholdWorld(max_turns=40)
    behavior = NearMiss(world.expert, vocabulary=world.vocabulary)
    num_vain = 0
    for task in world.tasks(split="train", num=100):
        start, turns = play(world, task, behavior=behavior)
        wanted = re.findall(r"put (\w+ \d+) in", start.observation)[0]
        for before, turn in pairwise(turns):
            if turn.outcome.valid:
                continue
            num_vain += 1
            assert turn.action.command.startswith(f"take {wanted} from ")
            assert wanted not in before.outcome.observation
    assert num_vain >= 20


def test_the_share_of_near_misses_can_be_set() -> None:
    world = HouseholdWorld()
    behavior = NearMiss(world.expert, vocabulary=world.vocabulary, share=0.0)
    for task in world.tasks(split="train", num=20):
        assert play(world, task, behavior=behavior) == play(world, task, behavior=world.expert)


def test_noise_comes_in_the_shares_asked_for() -> None:
    world = HouseholdWorld(families=ALL, num_receptacles=8, num_objects=7, max_turns=30)
    behavior = NoisyExpert(
        world.expert, vocabulary=world.vocabulary, random_share=0.0, invalid_share=0.3
    )
    valid = [
        turn.outcome.valid
        for task in world.tasks(split="train", num=80)
        for turn in play(world, task, behavior=behavior)[1]
    ]
    invalid_share = 1 - sum(map(bool, valid)) / len(valid)
    assert 0.25 < invalid_share < 0.35  # more than 1000 turns: five standard errors and more


def test_random_commands_are_plausible() -> None:
    world = HouseholdWorld(families=ALL, num_receptacles=8, num_objects=7, max_turns=40)
    behavior = NoisyExpert(
        world.expert, vocabulary=world.vocabulary, random_share=1.0, invalid_share=0.0
    )
    verbs: set[str] = set()
    for task in world.tasks(split="train", num=60):
        for turn in play(world, task, behavior=behavior)[1]:
            assert turn.outcome.valid, turn
            verbs.add(turn.action.command.split()[0])
    assert {"go", "take", "move", "open", "close", "look", "inventory", "examine"} <= verbs


def test_an_explorer_is_a_function_of_the_context() -> None:
    world = HouseholdWorld()
    near = NearMiss(world.expert, vocabulary=world.vocabulary, share=0.5)
    behavior = NoisyExpert(near, vocabulary=world.vocabulary)
    task = world.tasks(split="train", num=1)[0]
    assert play(world, task, behavior=behavior) == play(world, task, behavior=behavior)


@pytest.mark.parametrize("shares", [(-0.1, 0.0), (0.7, 0.7), (0.0, 2.0)])
def test_shares_that_are_none_are_refused(shares: tuple[float, float]) -> None:
    world = HouseholdWorld()
    with pytest.raises(ValueError, match="must be in"):
        NoisyExpert(
            world.expert,
            vocabulary=world.vocabulary,
            random_share=shares[0],
            invalid_share=shares[1],
        )


@pytest.mark.parametrize("naming", ["kind", "instance"])
def test_the_goal_is_read_from_its_words(naming: str) -> None:
    world = HouseholdWorld(
        families=ALL, num_receptacles=8, num_objects=7, max_turns=60, goal_naming=naming
    )
    for task in world.tasks(split="train", num=150):
        goal = world.house(task).goal
        stated = read_goal(goal.text)
        assert stated is not None
        assert (stated.family, stated.naming) == (goal.family, goal.naming)
        assert (stated.objects, stated.target) == (goal.objects, goal.target)
        assert kind_of("mug 12") == "mug"
