"""A world in a process of its own: the same episodes, and nothing it does harms its player."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dyna.config import WorkerConfig
from dyna.envs.corridor import CorridorWorld
from dyna.envs.processes import WorkerPool
from dyna.protocols import Env
from dyna.rollout import EpisodeSpec, Limits, play_episode
from dyna.testing import check_env
from dyna.types import Action, Context, Source, StopReason, Task, Trajectory
from tests.worlds.playing import ends_within, is_alive

WILD = "tests.unit.dyna.envs.wild_world:WildWorld"
TASK = Task(id="wild/0", world="wild", family="wild", split="train")


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    pool = WorkerPool(
        WILD,
        params={"greeting": "hi"},
        config=WorkerConfig(num=2, max_episodes=3, max_memory_mb=200),
    )
    yield pool
    pool.close()


class Says:
    version = 0

    def __init__(self, *commands: str) -> None:
        self._commands = commands

    async def act(self, context: Context) -> Action:
        return Action(command=self._commands[context.length])


def play(env: Env, *commands: str, timeout_s: float = 30.0) -> Trajectory:
    return asyncio.run(
        play_episode(
            EpisodeSpec(task=TASK, episode_id="e"),
            policy=Says(*commands),
            env=env,
            limits=Limits(max_turns=len(commands), step_timeout_s=timeout_s),
            source=Source.REAL,
        )
    )


def pid_of(trajectory: Trajectory) -> int:
    return int(trajectory.start.observation.split()[-1])


def test_a_world_in_a_process_plays_like_an_inline_one() -> None:
    world = CorridorWorld(num_doors=3, max_turns=10)
    (task,) = world.tasks(split="train", num=1)
    pool = WorkerPool(
        "corridor", params={"num_doors": 3, "max_turns": 10}, config=WorkerConfig(num=1)
    )
    check_env(pool.make, task=task)

    async def walk(env: Env) -> list[object]:
        seen: list[object] = [await env.reset(task)]
        seen += [await env.step(Action(command=command)) for command in ("go left", "go right")]
        await env.close()
        return seen

    assert asyncio.run(walk(pool.make())) == asyncio.run(walk(world.make()))
    pool.close()


@pytest.mark.parametrize(
    ("command", "stop", "error"),
    [
        ("segfault", StopReason.ENV_ERROR, "died of SIGSEGV"),
        ("exit", StopReason.ENV_ERROR, "died of exit status 3"),
        ("raise", StopReason.ENV_ERROR, "KeyError: 'no such door'"),
        ("hoard", StopReason.ENV_ERROR, "max_memory_mb=200 allows no more"),
        ("hang", StopReason.ENV_TIMEOUT, "step took longer than 1 s"),
        ("hang every thread", StopReason.ENV_TIMEOUT, "step took longer than 1 s"),
    ],
)
def test_whatever_a_world_does_ends_its_episode_and_no_other(
    pool: WorkerPool, command: str, stop: StopReason, error: str
) -> None:
    good = play(pool.make(), "look")
    timeout_s = 1.0 if stop is StopReason.ENV_TIMEOUT else 30.0
    bad = play(pool.make(), "look", command, "look", timeout_s=timeout_s)
    assert (bad.stop, len(bad.turns)) == (stop, 1)
    assert error in bad.error
    assert ends_within(pid_of(bad), seconds=5)
    after = play(pool.make(), "look")
    assert after.stop is StopReason.STEP_LIMIT
    assert pid_of(bad) == pid_of(good) != pid_of(after)


def test_the_last_words_of_a_dead_world_are_told(pool: WorkerPool) -> None:
    assert "about to fall" in play(pool.make(), "segfault").error


def test_a_world_that_leaks_is_replaced_before_it_grows_too_large(pool: WorkerPool) -> None:
    leaking = play(pool.make(), *["leak"] * 10)
    assert leaking.stop is StopReason.ENV_ERROR
    assert 1 <= len(leaking.turns) < 6
    used = [pid_of(play(pool.make(), "look")) for _ in range(7)]
    assert [used.count(pid) for pid in dict.fromkeys(used)] == [3, 3, 1]


def test_what_a_world_prints_is_no_answer_and_fills_no_disk(pool: WorkerPool) -> None:
    first = play(pool.make(), *["print"] * 5, "end")
    assert [turn.outcome.observation for turn in first.turns] == ["you print"] * 5 + ["end?"]
    assert play(pool.make(), "print").stop is StopReason.STEP_LIMIT


def test_what_a_world_started_ends_with_it(pool: WorkerPool) -> None:
    played = play(pool.make(), "bear", "exit")
    child = int(played.turns[0].outcome.observation)
    assert ends_within(child, seconds=5)
    other = play(pool.make(), "bear", "hang", timeout_s=5.0)
    assert ends_within(int(other.turns[0].outcome.observation), seconds=5)


def test_episodes_side_by_side_have_processes_of_their_own(pool: WorkerPool) -> None:
    async def both() -> list[str]:
        envs = [pool.make(), pool.make()]
        starts = await asyncio.gather(*(env.reset(TASK) for env in envs))
        for env in envs:
            await env.close()
        return [start.observation for start in starts]

    first, second = asyncio.run(both())
    assert first != second
    assert first.startswith("hi from")


def test_a_closed_pool_leaves_no_process(pool: WorkerPool) -> None:
    pid = pid_of(play(pool.make(), "look"))
    assert is_alive(pid)
    pool.close()
    assert ends_within(pid, seconds=5)


_PLAYER = """
import asyncio, os, sys, time
from dyna.config import WorkerConfig
from dyna.envs.processes import WorkerPool
from dyna.types import Action, Task

async def main():
    pool = WorkerPool(sys.argv[1], params={}, config=WorkerConfig(num=1))
    env = pool.make()
    start = await env.reset(Task(id="wild/0", world="wild", family="wild", split="train"))
    child = await env.step(Action(command="bear"))
    print(start.observation.split()[-1], child.observation, flush=True)
    if sys.argv[2]:
        await env.step(Action(command=sys.argv[2]))

asyncio.run(main())
"""


@pytest.mark.parametrize("doing", ["hang", "hang every thread"])
def test_no_world_outlives_a_player_that_is_killed(doing: str) -> None:
    player = subprocess.Popen(
        [sys.executable, "-c", _PLAYER, WILD, doing],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])},
    )
    assert player.stdout is not None
    world, child = map(int, player.stdout.readline().split())
    assert is_alive(world)
    time.sleep(0.3)
    player.send_signal(signal.SIGKILL)
    player.wait()
    player.stdout.close()
    assert ends_within(world, seconds=5)
    assert ends_within(child, seconds=5)


def test_no_world_outlives_a_player_that_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PLAYER, WILD, ""],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])},
    )
    assert all(ends_within(int(pid), seconds=5) for pid in done.stdout.split())
