"""Our worlds as Gymnasium's environments, under Gymnasium's own checks."""

from __future__ import annotations

import asyncio
import time
import warnings
from typing import Any

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from dyna.envs.corridor import CorridorWorld
from dyna.envs.gymnasium import AnyText, GymnasiumWorld, TextEnv, register
from dyna.envs.household import HouseholdWorld
from dyna.types import Action, Context, Outcome, Start, Task, Turn

PARAMS = {"max_turns": 30, "admissible": True}


def household(**options: Any) -> TextEnv:
    return TextEnv(HouseholdWorld(**PARAMS), num_tasks=20, **options)  # type: ignore[arg-type]


@pytest.fixture
def made() -> gymnasium.Env[str, str]:
    register()
    register()
    return gymnasium.make("dyna/World-v0", world="household", params=PARAMS)


def test_gymnasium_finds_nothing_to_say(made: gymnasium.Env[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(made.unwrapped)
        made.reset(seed=1)
        made.step("look")
        made.close()


def test_a_module_names_the_id_in_any_process() -> None:
    env = gymnasium.make("dyna.envs.gymnasium.registered:dyna/World-v0", world="corridor")
    observation, info = env.reset(seed=3)
    assert observation.startswith("You are in room 1") and info["task"].startswith("corridor/train")
    env.close()


def test_an_expert_episode_is_the_same_through_either_door() -> None:
    world = HouseholdWorld(**PARAMS)  # type: ignore[arg-type]
    env = household()

    async def play(task: Task) -> tuple[Start, list[Turn]]:
        here, turns = world.make(), list[Turn]()
        start = await here.reset(task)
        while not turns or turns[-1].outcome.stop is None:
            context = Context(task=task, start=start, turns=turns, length=len(turns))
            action = Action(command=world.expert(context))
            turns.append(Turn(action=action, outcome=await here.step(action)))
        return start, turns

    for index, task in enumerate(world.tasks(split="train", num=5)):
        start, turns = asyncio.run(play(task))
        observation, info = env.reset(options={"index": index})
        assert (observation, info["admissible"]) == (start.observation, start.admissible)
        assert "hidden_state" not in info
        for turn in turns:
            expected = turn.outcome
            observation, reward, terminated, truncated, info = env.step(turn.action.command)
            assert (observation, reward) == (expected.observation, expected.reward)
            assert (terminated, truncated) == (expected.terminated, False)
            assert (info["success"], info["valid"]) == (expected.success, expected.valid)
        assert terminated and info["success"] and info["stop"] == "terminated"
        with pytest.raises(RuntimeError, match="call reset before step"):
            env.step("look")
    env.close()
    env.close()


def test_a_cut_is_truncated_whoever_makes_it() -> None:
    for env in (household(max_turns=2), TextEnv(HouseholdWorld(max_turns=2), num_tasks=3)):
        env.reset(seed=0)
        assert env.step("look")[2:4] == (False, False)
        _, _, terminated, truncated, info = env.step("look")
        assert (terminated, truncated, info["stop"]) == (False, True, "step_limit")


def test_seeds_choose_tasks_and_options_name_them() -> None:
    env = household(hidden_state=True)
    tasks = [env.reset(seed=seed)[1]["task"] for seed in range(30)]
    assert tasks == [env.reset(seed=seed)[1]["task"] for seed in range(30)]
    assert len(set(tasks)) > 10
    _, info = env.reset(options={"task": tasks[7]})
    assert info["task"] == tasks[7] and info["hidden_state"]
    with pytest.raises(ValueError, match="there is no task 'x'"):
        env.reset(options={"task": "x"})
    with pytest.raises(ValueError, match=r"`index` must be in \[0, 20\)"):
        env.reset(options={"index": 20})
    with pytest.raises(ValueError, match="knows the options"):
        env.reset(options={"tsk": 1})


def test_it_works_where_an_event_loop_already_runs() -> None:
    async def notebook() -> str:
        env = household()
        env.reset(seed=0)
        return env.step("look")[0]

    assert asyncio.run(notebook()).startswith("You are in the middle of a room")


def test_what_is_too_slow_is_given_up() -> None:
    class Slow:
        async def reset(self, task: Task) -> Start:
            return Start(observation="wait")

        async def step(self, action: Action) -> Outcome:
            await asyncio.sleep(60)
            return Outcome(observation="late")

        async def close(self) -> None:
            return

    class SlowWorld(CorridorWorld):
        def make(self) -> Any:
            return Slow()

    env = TextEnv(SlowWorld(), num_tasks=1, step_timeout_s=0.2)
    env.reset(seed=0)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        env.step("go left")
    assert time.monotonic() - began < 5


def test_there_and_back_again() -> None:
    """A world of ours as an environment of theirs as a world of ours says the same."""
    register()
    inner = HouseholdWorld(**PARAMS)  # type: ignore[arg-type]
    outer = GymnasiumWorld(
        id="dyna/World-v0",
        kwargs={"world": "household", "params": PARAMS, "num_tasks": 5},
        success_key="success",
    )

    async def play() -> None:
        env = outer.make()
        start = await env.reset(outer.tasks(split="train", num=1)[0])
        starts = {
            (await inner.make().reset(task)).observation: task
            for task in inner.tasks(split="train", num=5)
        }
        task = starts[start.observation]
        here = inner.make()
        first = await here.reset(task)
        turns: list[Turn] = []
        while not turns or turns[-1].outcome.stop is None:
            context = Context(task=task, start=first, turns=turns, length=len(turns))
            action = Action(command=inner.expert(context))
            outcome, mirrored = await here.step(action), await env.step(action)
            assert (mirrored.observation, mirrored.success, mirrored.stop) == (
                outcome.observation, outcome.success, outcome.stop,
            )  # fmt: skip
            turns.append(Turn(action=action, outcome=outcome))
        assert turns[-1].outcome.success

    asyncio.run(play())


def test_any_text_is_in_the_space() -> None:
    space = AnyText(100)
    space.seed(4)
    samples = [space.sample() for _ in range(200)]
    assert all(space.contains(sample) for sample in samples) and len(set(samples)) > 150
    assert space.contains("\x00\u4e2d") and not space.contains("x" * 101) and not space.contains(3)
    assert space == AnyText(100) and space != AnyText(7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_turns": -1}, "must be >= 0"),
        ({"render_mode": "human"}, "render_mode must be None or 'ansi'"),
        ({"split": "nowhere"}, "split must be one of"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        household(**options)


def test_vectors_of_environments_step_together() -> None:
    register()
    asynchronous: dict[str, Any] = {"vector_kwargs": {"shared_memory": False}}
    ways: list[tuple[str, dict[str, Any]]] = [("sync", {}), ("async", asynchronous)]
    for mode, more in ways:
        envs = gymnasium.make_vec(
            "dyna/World-v0", num_envs=2, vectorization_mode=mode, world="household", **more
        )
        envs.reset(seed=1)
        observations, rewards, *_ = envs.step(["look", "inventory"])
        assert len(observations) == 2 and list(rewards) == [0.0, 0.0]
        envs.close()
