"""The household as a world: tasks, episodes, the expert, and what stays hidden."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from dyna.envs.household import (
    SPLITS,
    Expert,
    Family,
    HouseholdGame,
    HouseholdWorld,
    describe_hidden_state,
    expert_command,
)
from dyna.protocols import Env, World
from dyna.types import Action, Context, StopReason, Task
from tests.unit.dyna.envs.household_play import invented_vocabulary, play

ALL = [family.value for family in Family]


def test_it_is_a_world_of_environments() -> None:
    world = HouseholdWorld()
    assert isinstance(world, World)
    assert isinstance(world.make(), Env)


def test_tasks_are_the_same_at_every_call_and_in_any_order() -> None:
    world = HouseholdWorld()
    later = world.tasks(split="train", num=5, offset=20)
    assert list(later) == list(HouseholdWorld().tasks(split="train", num=25)[20:])
    assert world.tasks(split="train", num=0) == []


def test_no_two_tasks_have_one_id_and_no_id_is_in_two_splits() -> None:
    world = HouseholdWorld(num_receptacles=4, num_objects=2)
    ids = [task.id for split in SPLITS for task in world.tasks(split=split, num=700)]
    assert len(set(ids)) == len(ids)


def test_another_seed_gives_other_tasks() -> None:
    first = {task.id for task in HouseholdWorld(seed=0).tasks(split="train", num=100)}
    second = {task.id for task in HouseholdWorld(seed=1).tasks(split="train", num=100)}
    assert len(first & second) <= 5


def test_a_task_travels_as_json_and_gives_the_same_house() -> None:
    world = HouseholdWorld(families=ALL, num_receptacles=8, goal_naming="kind")
    for task in world.tasks(split="valid_unseen", num=20):
        copy = replace(task, params=json.loads(json.dumps(task.params)))
        other = HouseholdWorld()  # the task, not the world, says what kind of house it is
        assert other.house(copy) == world.house(task)


def test_a_task_of_another_world_or_vocabulary_is_refused() -> None:
    world = HouseholdWorld()
    with pytest.raises(ValueError, match="not of household"):
        world.house(Task(id="x", world="corridor", family="f", split="train"))
    invented = HouseholdWorld(vocabulary=invented_vocabulary(0), num_receptacles=6)
    with pytest.raises(ValueError, match="make the world with the task's vocabulary"):
        world.house(invented.tasks(split="train", num=1)[0])


def test_a_task_whose_house_has_changed_is_refused() -> None:
    world = HouseholdWorld()
    task = world.tasks(split="train", num=1)[0]
    with pytest.raises(ValueError, match="another house"):
        HouseholdWorld().house(replace(task, id=task.id + "0", seed=task.seed + 1))


@pytest.mark.parametrize("split", ["test", ""])
def test_an_unknown_split_is_refused(split: str) -> None:
    with pytest.raises(ValueError, match="split must be one of"):
        HouseholdWorld().tasks(split=split, num=1)


def test_a_split_that_has_too_few_tasks_says_so() -> None:
    world = HouseholdWorld(
        num_receptacles=3, num_objects=1, rooms=["bathroom"], max_per_kind=1, num_layouts=4
    )
    with pytest.raises(ValueError, match=r"has only \d+ tasks"):
        world.tasks(split="valid_seen", num=500)


@pytest.mark.parametrize("naming", ["kind", "instance"])
def test_the_expert_solves_every_small_house(naming: str) -> None:
    for size, families in ((5, ["pick_and_place"]), (8, ALL)):
        world = HouseholdWorld(
            num_receptacles=size, num_objects=size - 1, families=families, goal_naming=naming,
            max_turns=60,
        )  # fmt: skip
        lengths: list[int] = []
        for task in world.tasks(split="train", num=100):
            _, turns = play(world, task, behavior=world.expert)
            assert turns[-1].outcome.success, (task.id, turns)
            assert all(turn.outcome.valid for turn in turns)
            lengths.append(len(turns))
        if size == 5:
            assert sum(lengths) / len(lengths) < 8


@pytest.mark.parametrize("naming", ["kind", "instance"])
def test_the_expert_solves_full_houses_within_fifty_turns(naming: str) -> None:
    world = HouseholdWorld(
        num_receptacles=0, num_objects=0, families=ALL, goal_naming=naming, max_turns=50
    )
    wins = 0
    for task in world.tasks(split="valid_unseen", num=60):
        wins += play(world, task, behavior=world.expert)[1][-1].outcome.success
    assert wins >= 57


def test_the_expert_knows_a_replaced_vocabulary() -> None:
    world = HouseholdWorld(
        vocabulary=invented_vocabulary(1), num_receptacles=6, families=ALL, max_turns=60
    )
    for task in world.tasks(split="train", num=40):
        assert play(world, task, behavior=world.expert)[1][-1].outcome.success


def test_the_expert_needs_no_hidden_state() -> None:
    world = HouseholdWorld(expose_hidden_state=False)
    task = world.tasks(split="train", num=1)[0]
    start, turns = play(world, task, behavior=expert_command)
    assert start.hidden_state is None
    assert turns[-1].outcome.success


def test_the_expert_survives_text_that_says_nothing() -> None:
    world = HouseholdWorld()
    task = world.tasks(split="train", num=1)[0]
    start, turns = play(world, task, behavior=world.expert)
    garbled = [
        replace(turn, outcome=replace(turn.outcome, observation=text))
        for turn, text in zip(
            turns, ["You arrive at .", "On the , you see a", "", "?"], strict=False
        )
    ]
    expert = Expert(world.vocabulary)
    for text in (start.observation, "", "You see a 1, and a .", "Your task is to: dance."):
        context = Context(
            task=task, start=replace(start, observation=text), turns=garbled, length=len(garbled)
        )
        assert expert(context)


def test_a_win_ends_the_episode_with_reward_one() -> None:
    world = HouseholdWorld(admissible=True)
    task = world.tasks(split="train", num=1)[0]
    start, turns = play(world, task, behavior=world.expert)
    assert start.admissible is not None and "look" in start.admissible
    last = turns[-1].outcome
    assert (last.reward, last.terminated, last.success) == (1.0, True, True)
    assert last.stop is StopReason.TERMINATED
    assert all(t.outcome.reward == 0.0 and t.outcome.stop is None for t in turns[:-1])
    assert all(t.outcome.admissible for t in turns)


def test_an_episode_is_cut_at_the_worlds_limit() -> None:
    world = HouseholdWorld(max_turns=3)
    task = world.tasks(split="train", num=1)[0]
    _, turns = play(world, task, behavior=lambda _: "look")
    assert [turn.outcome.stop for turn in turns] == [None, None, StopReason.STEP_LIMIT]
    assert not turns[-1].outcome.terminated


def test_nothing_may_follow_an_end_but_a_reset() -> None:
    async def run() -> None:
        world = HouseholdWorld(max_turns=1)
        env = world.make()
        with pytest.raises(RuntimeError, match="call reset"):
            await env.step(Action(command="look"))
        await env.reset(world.tasks(split="train", num=1)[0])
        await env.step(Action(command="look"))
        with pytest.raises(RuntimeError, match="call reset"):
            await env.step(Action(command="look"))

    asyncio.run(run())


def test_the_hidden_state_tells_all_and_never_reaches_the_agent() -> None:
    world = HouseholdWorld(families=ALL, num_receptacles=8, num_objects=6, max_turns=60)
    for task in world.tasks(split="train", num=50):
        start, turns = play(world, task, behavior=world.expert)
        assert start.hidden_state is not None
        assert "The task is done when: " in start.hidden_state
        for thing in world.house(task).objects:
            assert thing.name in start.hidden_state
        for text in [start.observation, *(turn.outcome.observation for turn in turns)]:
            assert "is closed. In it" not in text
            assert "The task is done when" not in text


def test_the_goal_is_told_as_the_event_that_ends_the_game() -> None:
    world = HouseholdWorld()
    for task in world.tasks(split="train", num=50):
        start, turns = play(world, task, behavior=world.expert)
        assert start.hidden_state is not None
        event = start.hidden_state.rpartition("The task is done when: ")[2]
        assert event == turns[-1].outcome.observation


def test_the_hidden_state_follows_the_game() -> None:
    world = HouseholdWorld(families=["clean"], num_receptacles=8, num_objects=6, max_turns=60)
    task = world.tasks(split="train", num=1)[0]
    game = HouseholdGame(world.house(task))
    _, turns = play(world, task, behavior=world.expert)
    texts = []
    for turn in turns:
        game.step(turn.action.command)
        texts.append(describe_hidden_state(game))
    assert any("You are carrying: a " in text for text in texts)
    assert " is clean." in texts[-1]


def test_the_banner_is_kept_if_asked_for() -> None:
    world = HouseholdWorld(banner=True)
    task = world.tasks(split="train", num=1)[0]
    start, _ = play(world, task, behavior=world.expert)
    assert start.observation.startswith("-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"max_turns": -1}, "max_turns must be >= 0"), ({"num_receptacles": 1}, "num_receptacles")],
)
def test_a_world_that_cannot_be_is_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HouseholdWorld(**change)  # pyright: ignore[reportArgumentType]
