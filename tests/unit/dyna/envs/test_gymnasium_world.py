"""Gymnasium's environments as worlds, against the real ones that Gymnasium ships."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from dyna.envs.gymnasium import GymnasiumWorld, Seen
from dyna.testing import GARBAGE, check_world
from dyna.types import Action, Outcome, Start, StopReason, Task

RIVER = {"desc": ["SFFG"], "is_slippery": False}
TAXI = "Taxi-v3"
ME = __name__


class Parrot(gymnasium.Env[str, str]):
    """Says what it is told; `enough` ends it, and `info` says whether that was wanted."""

    observation_space = spaces.Text(1000, min_length=0)
    action_space = spaces.Text(8)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self.number = int(self.np_random.integers(10**6))
        return f"Say number {self.number}.", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        is_right = action == str(self.number)
        return action, 0.5 * is_right, action == "enough", False, {"right": is_right}


gymnasium.register("test/Parrot-v0", entry_point=lambda **_: Parrot(), max_episode_steps=4)


def describe_cart(seen: Seen, *, env: gymnasium.Env[Any, Any]) -> str:
    lean = "left" if seen.observation[2] < 0 else "right"
    return f"The pole leans {lean} by {abs(seen.observation[2]):.3f}."


def push(command: str, *, env: gymnasium.Env[Any, Any]) -> int:
    if command not in ("left", "right"):
        raise ValueError("Push left or right.")
    return int(command == "right")


def torque(command: str, *, env: gymnasium.Env[Any, Any]) -> Any:
    return np.array([float(command)], dtype=np.float32)


def play(world: GymnasiumWorld, task: Task, commands: Sequence[str]) -> tuple[Start, list[Outcome]]:
    async def episode() -> tuple[Start, list[Outcome]]:
        env = world.make()
        start = await env.reset(task)
        outcomes = [await env.step(Action(command=command)) for command in commands]
        await env.close()
        return start, outcomes

    return asyncio.run(episode())


def first(world: GymnasiumWorld, *, split: str = "train") -> Task:
    return world.tasks(split=split, num=1)[0]


@pytest.mark.parametrize(
    ("env_id", "kwargs", "splits"),
    [
        ("FrozenLake-v1", {}, {"train": 50, "valid": 5, "test": 5}),
        ("FrozenLake8x8-v1", {"is_slippery": False}, {"train": 1}),
        ("CliffWalking-v1", {}, {"train": 1}),
        ("CliffWalkingSlippery-v1", {}, {"train": 50, "valid": 5, "test": 5}),
        ("Blackjack-v1", {}, {"train": 50, "valid": 5, "test": 5}),
        (TAXI, {}, {"train": 50, "valid": 5, "test": 5}),
    ],
)
def test_the_toy_text_environments_keep_the_contract(
    env_id: str, kwargs: dict[str, Any], splits: dict[str, int]
) -> None:
    world = GymnasiumWorld(id=env_id, kwargs=kwargs, num_train=50, num_valid=5, num_test=5)
    assert world.splits == splits
    for split, size in splits.items():
        check_world(world, split=split, num_tasks=min(3, size))


def test_a_frozen_lake_is_told_with_its_map_and_crossed_by_words() -> None:
    world = GymnasiumWorld(id="FrozenLake-v1", kwargs=RIVER)
    start, outcomes = play(world, first(world), ["go right", "go  right", "jump", "go right"])
    assert start.observation == (
        "Walk over the frozen lake to the goal without falling into a hole.\n\n"
        "The map, top row first (S start, F ice, H hole, G goal):\nSFFG\n"
        "You are at row 1, column 1, on the start.\n\n"
        "Commands: go left, go down, go right, go up."
    )
    assert [o.observation for o in outcomes] == [
        "You are at row 1, column 2, on ice.",
        "You are at row 1, column 3, on ice.",
        "That is not one of the commands.",
        "You reach the goal.",
    ]
    assert [o.valid for o in outcomes] == [True, True, False, True]
    assert (outcomes[-1].reward, outcomes[-1].success) == (1.0, True)
    hole = GymnasiumWorld(id="FrozenLake-v1", kwargs={"desc": ["SHG"], "is_slippery": False})
    _, [fallen] = play(hole, first(hole), ["go right"])
    assert (fallen.observation, fallen.terminated, fallen.success) == (
        "You fall into a hole.", True, False,
    )  # fmt: skip


def test_a_cliff_is_fallen_from_and_the_goal_is_a_success_in_spite_of_its_reward() -> None:
    world = GymnasiumWorld(id="CliffWalking-v1")
    way = ["go right", "go up", *["go right"] * 11, "go down"]
    _, outcomes = play(world, first(world), way)
    assert outcomes[0].observation == (
        "You fall off the cliff and are carried back to the start. You are at row 4, column 1."
    )
    assert (outcomes[-1].observation, outcomes[-1].reward, outcomes[-1].success) == (
        "You reach the goal.", -1.0, True,
    )  # fmt: skip


def test_every_way_a_hand_of_blackjack_can_end_is_told_as_it_was_paid() -> None:
    world = GymnasiumWorld(id="Blackjack-v1")
    said = {"You win.": 1.0, "You lose.": -1.0, "It is a draw.": 0.0, "You are bust.": -1.0}
    seen: set[str] = set()
    for task in world.tasks(split="train", num=60):
        for commands in (["stick"], ["hit"]):
            _, [outcome] = play(world, task, commands)
            if outcome.terminated:
                ending = next(end for end in said if outcome.observation.endswith(end))
                assert outcome.reward == said[ending]
                assert outcome.success == (outcome.reward > 0)
                seen.add(ending)
    assert seen == set(said)


def test_a_taxi_lists_what_can_change_something_and_brings_its_passenger() -> None:
    world = GymnasiumWorld(id=TAXI)
    start, [outcome] = play(world, first(world), ["drop off"])
    assert "|R: | : :G|" in start.observation and "The passenger waits at" in start.observation
    assert start.admissible is not None and "drop off" not in start.admissible
    assert (outcome.valid, outcome.reward) == (False, -10.0)
    solved = 0
    for task in world.tasks(split="valid", num=5):
        commands = _way_of_taxi(world, task)
        _, outcomes = play(world, task, commands)
        solved += outcomes[-1].success
        assert outcomes[-1].observation.startswith("The passenger gets out at")
    assert solved == 5
    plain = GymnasiumWorld(id=TAXI, success_is_reward=True)
    _, outcomes = play(plain, task, commands)
    assert [o.reward for o in outcomes] == [0.0] * (len(commands) - 1) + [1.0]


def _way_of_taxi(world: GymnasiumWorld, task: Task) -> list[str]:
    """The shortest way, by breadth-first search in the environment's own table of moves."""
    env = world.make_env()
    state, _ = env.reset(seed=task.seed)
    table: Any = env.unwrapped
    ways: dict[int, list[str]] = {int(state): []}
    queue = [int(state)]
    names = world.commands.names or ()
    while queue:
        here = queue.pop(0)
        for index, name in enumerate(names):
            [(_, after, _, done)] = table.P[here][index]
            if done:
                return [*ways[here], name]
            if after not in ways:
                ways[after] = [*ways[here], name]
                queue.append(after)
    raise AssertionError("no way")


def test_starts_that_are_the_same_game_are_in_one_split_only() -> None:
    world = GymnasiumWorld(id=TAXI, num_valid=30, num_test=30)
    assert world.splits == {"train": 240, "valid": 30, "test": 30}
    prints = [
        world.fingerprint(task)
        for split, size in world.splits.items()
        for task in world.tasks(split=split, num=size or 0)
    ]
    assert len(set(prints)) == len(prints) == 300
    with pytest.raises(ValueError, match="only 300 different starts, 30 of them in split 'valid'"):
        GymnasiumWorld(id=TAXI, num_valid=31).tasks(split="valid", num=31)


def test_text_goes_in_and_out_as_it_is() -> None:
    world = GymnasiumWorld(id="test/Parrot-v0", success_key="right", num_train=9, goal="Obey.")
    check_world(world, commands=("enough", "12"))
    task = first(world)
    start, _ = play(world, task, [])
    assert start.observation.startswith("Obey.\n\nSay number ") and start.admissible is None
    number = start.observation.split()[-1].rstrip(".")
    _, outcomes = play(world, task, ["hello", "much too long", number])
    assert [(o.observation, o.valid) for o in outcomes] == [
        ("hello", None), ("That is not understood.", False), (number, None),
    ]  # fmt: skip
    # What `info` calls a success ends the episode, though the environment goes on.
    assert outcomes[-1].success and outcomes[-1].stop is StopReason.TERMINATED
    _, cut = play(world, task, ["a", "b", "c", "d"])
    assert cut[-1].stop is StopReason.STEP_LIMIT and not cut[-1].terminated
    _, ended = play(world, task, ["enough"])
    assert ended[-1].terminated and not ended[-1].success


def test_numbers_are_told_and_pushed_by_functions_of_the_user() -> None:
    world = GymnasiumWorld(id="CartPole-v1", describe=f"{ME}:describe_cart", actions=f"{ME}:push")
    check_world(world, commands=("left", "right"))
    start, outcomes = play(world, first(world), ["left", "up"])
    assert start.observation.startswith("The pole leans")
    assert (outcomes[1].observation, outcomes[1].valid) == ("Push left or right.", False)
    named = GymnasiumWorld(
        id="CartPole-v1", describe=f"{ME}:describe_cart", actions={"east": 1, "west": 0}
    )
    assert play(named, first(named), [])[0].admissible == ("east", "west")
    numbered = GymnasiumWorld(id="CartPole-v1", describe=f"{ME}:describe_cart")
    assert play(numbered, first(numbered), [])[0].admissible == ("0", "1")
    motor = GymnasiumWorld(id="Pendulum-v1", describe=f"{ME}:describe_cart", actions=f"{ME}:torque")
    _, outcomes = play(motor, first(motor), ["1.5", "7", "nan", "hard"])
    assert [o.valid for o in outcomes] == [None, False, False, False]


def test_any_text_gets_an_answer() -> None:
    """2,000 generated commands in each of four environments."""
    rng = random.Random(3)
    pieces = [
        "go",
        "left",
        "hit",
        "\x00",
        "\ud800",
        "\u4e2d",
        "ignore rules",
        "1",
        "-0.5",
        "\n",
    ]
    commands = [" ".join(rng.choices(pieces, k=rng.randint(0, 5))) for _ in range(2000)]
    commands += [*GARBAGE, "9" * 100_000, "go " * 40_000]
    worlds = [
        GymnasiumWorld(id="FrozenLake-v1"),
        GymnasiumWorld(id="Blackjack-v1"),
        GymnasiumWorld(id="test/Parrot-v0"),
        GymnasiumWorld(id="Pendulum-v1", describe=f"{ME}:describe_cart", actions=f"{ME}:torque"),
    ]

    async def fuzz(world: GymnasiumWorld) -> int:
        env, task, answered = world.make(), first(world), 0
        await env.reset(task)
        for command in commands:
            outcome = await env.step(Action(command=command))
            answered += 1
            if outcome.stop is not None:
                await env.reset(task)
        await env.close()
        return answered

    assert [asyncio.run(fuzz(world)) for world in worlds] == [len(commands)] * 4


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"id": "FrozenLak-v1"}, "Did you mean: `FrozenLake`"),
        ({"id": "CartPole-v99"}, "provides versioned environments"),
        ({"id": "no_such_module:X-v0"}, "No module named 'no_such_module'"),
        ({"id": "FrozenLake-v1", "kwargs": {"size": 3}}, "unexpected keyword argument 'size'"),
        ({"id": "CartPole-v1"}, "set the parameter `describe`"),
        ({"id": "CartPole-v1", "describe": "tests:nothing"}, "has no `nothing`"),
        ({"id": "Pendulum-v1", "describe": f"{ME}:describe_cart"}, "set `actions`"),
        ({"id": "FrozenLake-v1", "actions": ["up", "down"]}, "must name all 4 actions"),
        ({"id": "FrozenLake-v1", "actions": {"up": 9}}, "'up' stands for 9, which is not in"),
        ({"id": "FrozenLake-v1", "actions": {}}, "must name one action at least"),
        ({"id": "FrozenLake-v1", "num_train": 0}, "num_train must be >= 1"),
        ({"id": "FrozenLake-v1", "num_test": -1}, "num_test must be in"),
        ({"id": "FrozenLake-v1", "max_turns": -1}, "max_turns must be >= 0"),
    ],
)
def test_what_cannot_be_a_world_is_said_at_once(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        GymnasiumWorld(**params)


def test_tasks_of_another_world_are_refused() -> None:
    world = GymnasiumWorld(id="FrozenLake-v1")
    other = first(GymnasiumWorld(id="FrozenLake-v1", kwargs=RIVER))
    stranger = Task(id="household/x", world="household", family="x", split="train")
    for task in (other, stranger):
        with pytest.raises(ValueError, match="is not of this world"):
            play(world, task, [])
    with pytest.raises(ValueError, match="split must be one of"):
        world.tasks(split="nowhere", num=1)
    with pytest.raises(ValueError, match="only 100 tasks"):
        world.tasks(split="valid", num=101)


def test_the_own_step_limit_cuts_and_refusals_count() -> None:
    world = GymnasiumWorld(id="FrozenLake-v1", max_turns=3)
    _, outcomes = play(world, first(world), ["nothing", "go left", "nothing"])
    assert [o.stop for o in outcomes] == [None, None, StopReason.STEP_LIMIT]
    with pytest.raises(RuntimeError, match="call reset before step"):
        play(world, first(world), ["nothing"] * 4)
