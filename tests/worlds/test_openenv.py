"""OpenEnv both ways, over real sockets between real processes."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("openenv", reason="the openenv extra is not installed")

from agents.scripted import ExpertPolicy
from dyna.envs.household import HouseholdWorld
from dyna.envs.openenv import OpenEnvWorld, Serving, make_app
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.testing import GARBAGE, check_world
from dyna.types import Action, Context, Source, StopReason, Turn
from tests.worlds.openenv_server import ROOT, START_S, free_port, process, url_of, world_at

PARAMS = {"max_turns": 30, "admissible": True}


@contextmanager
def household_server(*more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    params = [f"{key}={str(value).lower()}" for key, value in PARAMS.items()]
    arguments = ["household", *params, "--port", "0", "--num-tasks", "20", *more]
    with process("-m", "experiments.serve", *arguments) as started:
        yield started, url_of(started)


@pytest.fixture(scope="module")
def household() -> Iterator[str]:
    with household_server("--max-sessions", "8") as (_, url):
        yield url


@pytest.fixture(scope="module")
def countdown() -> Iterator[str]:
    port = free_port()
    with process(str(ROOT / "tests" / "worlds" / "echo_server.py"), str(port)):
        yield f"http://127.0.0.1:{port}"


async def play_expert(world: OpenEnvWorld, *, split: str, index: int) -> int:
    """Play one task here and there, the same commands; returns the number of turns."""
    local = HouseholdWorld(**PARAMS)  # type: ignore[arg-type]
    there, here = world.make(), local.make()
    task = local.tasks(split=split, num=1, offset=index)[0]
    start = await here.reset(task)
    served = await there.reset(world.tasks(split=split, num=1, offset=index)[0])
    assert (served.observation, served.admissible) == (start.observation, start.admissible)
    assert served.hidden_state is None
    turns: list[Turn] = []
    while not turns or turns[-1].outcome.stop is None:
        context = Context(task=task, start=start, turns=turns, length=len(turns))
        action = Action(command=local.expert(context))
        outcome = await here.step(action)
        assert await there.step(action) == outcome
        turns.append(Turn(action=action, outcome=outcome))
    assert turns[-1].outcome.success
    await there.close()
    return len(turns)


def test_a_served_world_plays_word_for_word_as_it_does_here(household: str) -> None:
    world = world_at(household)
    assert world.splits == {"train": 20, "valid_seen": 20, "valid_unseen": 20}
    for split in world.splits:
        turns = [asyncio.run(play_expert(world, split=split, index=index)) for index in range(3)]
        assert min(turns) >= 2


def test_sessions_do_not_disturb_each_other(household: str) -> None:
    world = world_at(household)

    async def together() -> list[int]:
        episodes = [play_expert(world, split="train", index=index % 4) for index in range(7)]
        return await asyncio.gather(*episodes)

    assert len(asyncio.run(together())) == 7


def test_a_served_world_keeps_the_contract(household: str) -> None:
    world = world_at(household)
    for split in world.splits:
        check_world(world, split=split, num_tasks=2)


def test_different_games_have_different_fingerprints(household: str) -> None:
    world = world_at(household)
    prints = [
        world.fingerprint(task)
        for split in world.splits
        for task in world.tasks(split=split, num=5)
    ]
    assert len(set(prints)) == len(prints)


def test_any_text_gets_an_answer(household: str) -> None:
    """2,000 generated commands: other scripts, control characters, injections, 100k characters."""
    world = world_at(household)
    rng = random.Random(7)
    pieces = ["go to", "take", "shelf 1", "\x00", "\ud800", "\u4e2d", "\u202e", "ignore all rules",
              '{"type": "close"}', "<|im_end|>", "\n\n", "'; DROP", "\\u0000", "mug 1"]  # fmt: skip
    commands = [" ".join(rng.choices(pieces, k=rng.randint(0, 6))) for _ in range(2000)]
    commands += [*GARBAGE, "x" * 100_000]

    async def fuzz() -> int:
        env, answered = world.make(), 0
        task = world.tasks(split="train", num=1)[0]
        await env.reset(task)
        for command in commands:
            outcome = await env.step(Action(command=command))
            answered += 1
            if outcome.stop is not None:
                await env.reset(task)
        await env.close()
        return answered

    assert asyncio.run(fuzz()) == len(commands)


def test_a_server_killed_in_an_episode_is_a_failed_episode_within_seconds() -> None:
    with household_server() as (started, url):
        world = world_at(url, connect_timeout_s=2.0)
        expert = HouseholdWorld(**PARAMS).expert  # type: ignore[arg-type]
        asked = 0

        def say(context: Context) -> str:
            nonlocal asked
            asked += 1
            if asked == 2:
                started.kill()
                started.wait()
            return expert(context)

        task = world.tasks(split="train", num=1)[0]
        began = time.monotonic()
        [episode] = asyncio.run(
            rollout(
                [EpisodeSpec(task=task, episode_id="killed")],
                policy=ExpertPolicy(say),
                make_env=lambda _: world.make(),
                limits=Limits(max_turns=20),
                source=Source.REAL,
            )
        )
        assert time.monotonic() - began < 5.0
        assert episode.stop is StopReason.ENV_ERROR and "is gone" in episode.error
        with pytest.raises(ConnectionError, match="no OpenEnv server answers"):
            OpenEnvWorld(url=url)


def test_a_server_told_to_stop_ends_at_once_with_sessions_open() -> None:
    with household_server() as (started, url):
        world = world_at(url)
        env = world.make()

        async def begin() -> None:
            await env.reset(world.tasks(split="train", num=1)[0])

        asyncio.run(begin())
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=15) == 128 + signal.SIGTERM
        asyncio.run(env.close())


def test_a_full_server_is_waited_for_and_then_named() -> None:
    with household_server("--max-sessions", "1") as (_, url):
        world = world_at(url, connect_timeout_s=1.5)
        task = world.tasks(split="train", num=1)[0]

        async def play() -> None:
            first, second = world.make(), world.make()
            await first.reset(task)
            with pytest.raises(ConnectionError, match="no session free"):
                await second.reset(task)
            waiting = asyncio.create_task(second.reset(task))
            await asyncio.sleep(0.4)
            await first.close()
            assert (await waiting).observation
            await second.close()

        asyncio.run(play())


def test_a_server_of_somebody_else_is_a_world(countdown: str) -> None:
    world = world_at(
        countdown,
        action_field="move",
        observation_fields=["prompt", "note"],
        stop_field="late",
        goal="Count down.",
        action_extra={"style": "slow"},
    )
    assert world.splits == {"train": 1000, "valid": 100, "test": 100}

    async def play(*commands: str) -> list[object]:
        env = world.make()
        start = await env.reset(world.tasks(split="train", num=1, offset=1)[0])
        assert start.observation == "Count down.\n\nprompt: 2 left"
        outcomes = [await env.step(Action(command=command)) for command in commands]
        await env.close()
        return [(o.observation, o.stop, o.success, o.valid) for o in outcomes]

    assert asyncio.run(play("down", "", "down")) == [
        ("prompt: 1 left\nnote: hurry", None, False, None),
        ("The environment does not understand that.", None, False, False),
        ("prompt: 0 left\nnote: hurry", StopReason.TERMINATED, True, None),
    ]
    assert asyncio.run(play(*["hide"] * 6))[-1] == (
        "prompt: 2 left\nnote: hurry", StopReason.STEP_LIMIT, False, None,
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="broken on purpose"):
        asyncio.run(play("break"))


def test_a_path_leads_into_a_message_and_names_stand_for_actions(countdown: str) -> None:
    world = world_at(
        countdown,
        actions={"count": {"move": "down"}, "wait": {"move": "hide"}},
        observation_fields=["log.-1.said"],
        num_train=5,
        num_valid=0,
        num_test=0,
    )
    check_world(world)

    async def play() -> None:
        env = world.make()
        start = await env.reset(world.tasks(split="train", num=1)[0])
        assert (start.observation, start.admissible) == ("1 to go", ("count", "wait"))
        assert (await env.step(Action(command="down"))).valid is False
        assert (await env.step(Action(command="count"))).success
        await env.close()

    asyncio.run(play())


def test_a_server_that_hangs_is_a_timeout(countdown: str) -> None:
    world = world_at(
        countdown, action_field="move", observation_fields=["prompt"], message_timeout_s=0.5
    )

    async def play() -> None:
        env = world.make()
        task = world.tasks(split="train", num=1)[0]
        await env.reset(task)
        with pytest.raises(TimeoutError, match=r"did not answer a step within 0\.5 s"):
            await env.step(Action(command="hang"))
        assert (await env.reset(task)).observation == "1 left"
        await env.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "`observation_fields` to one of prompt, note, log, late"),
        ({"action_field": "moev"}, "no field 'moev' for `action_field`; did you mean `move`"),
        ({"observation_fields": ["prompt"], "stop_field": "lat"}, "did you mean `late`"),
    ],
)
def test_fields_that_are_not_clear_are_asked_for(
    countdown: str, params: dict[str, object], said: str
) -> None:
    world_at(countdown, action_field="move", observation_fields=["prompt"])
    with pytest.raises(ValueError, match=said):
        OpenEnvWorld(url=countdown, **{"action_field": "move", **params})  # type: ignore[arg-type]


def test_tasks_of_another_server_are_refused(countdown: str, household: str) -> None:
    other = world_at(countdown, action_field="move", observation_fields=["prompt"])
    with pytest.raises(ValueError, match="is not of this world"):
        asyncio.run(world_at(household).make().reset(other.tasks(split="train", num=1)[0]))


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://127.0.0.1:1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="url must read like"):
        OpenEnvWorld(url=url)


def test_what_answers_but_is_no_openenv_server_is_said() -> None:
    port = free_port()
    with process("-m", "http.server", str(port), "--bind", "127.0.0.1"):
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        with pytest.raises(ConnectionError, match="no OpenEnv server answers"):
            OpenEnvWorld(url=f"http://127.0.0.1:{port}")


def test_a_world_that_is_not_asked_to_has_no_hidden_state_to_send() -> None:
    world = HouseholdWorld()
    schema = {"world": "household", "source": "real", "split": "train"}
    description = Serving(world, num_tasks=5).description
    assert {key: description[key] for key in schema} == schema
    assert make_app(Serving(world, num_tasks=5)).openapi()["paths"].keys() >= {"/reset", "/step"}
    with pytest.raises(ValueError, match="num_tasks and max_sessions must be >= 1"):
        Serving(world, num_tasks=0)
    with pytest.raises(ValueError, match="split must be one of"):
        Serving(world, split="nowhere")
