"""ScienceWorld's Java: one for all episodes, on the loopback alone, never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worlds.playing import ends_within, is_alive

pytest.importorskip("scienceworld", reason="the scienceworld extra is not installed")

from dyna.envs.scienceworld import JavaError, ScienceWorld, ScienceWorldEnv
from dyna.envs.scienceworld.host import JavaOptions, start_java
from dyna.testing import check_world_ends
from dyna.types import Action, Outcome

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
ROOT = Path(__file__).resolve().parents[2]
TASKS = ["find-animal", "find-plant"]
PLAYER = """
import asyncio, os, sys, time
from dyna.envs.scienceworld import ScienceWorld
world = ScienceWorld(tasks=["find-animal"], expose_hidden_state=False)
env = world.make()
asyncio.run(env.reset(world.tasks(split="train", num=1)[0]))
print(world.java_pid, flush=True)
how = sys.argv[1]
if how == "close":
    world.close()
    print("closed", flush=True)
    time.sleep(60)
if how == "fork" and os.fork() == 0:
    print(os.getpid(), flush=True)
    time.sleep(60)
    os._exit(0)
if how in ("kill", "fork"):
    time.sleep(60)
if how == "raise":
    raise SystemExit(3)
"""


@pytest.fixture
def world() -> Iterator[ScienceWorld]:
    world = ScienceWorld(tasks=TASKS, heap_mb=160, step_timeout_s=20.0, expose_hidden_state=False)
    yield world
    world.close()


async def begin(world: ScienceWorld, *, offset: int = 0) -> ScienceWorldEnv:
    env = world.make()
    await env.reset(world.tasks(split="train", num=1, offset=offset)[0])
    return env


def say(env: ScienceWorldEnv, command: str) -> Outcome:
    return asyncio.run(env.step(Action(command=command)))


@linux
@pytest.mark.parametrize("how", ["leave", "raise", "close", "kill", "fork"])
def test_java_never_outlives_python(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PLAYER, how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as player:
        assert player.stdout is not None and player.stderr is not None
        java = int(player.stdout.readline())
        child = int(player.stdout.readline()) if how == "fork" else 0
        if how == "close":
            assert player.stdout.readline() == "closed\n"
        if how in ("kill", "fork"):
            assert is_alive(java)
            player.kill()
        assert ends_within(java, seconds=15)
        if how == "fork":
            assert is_alive(child), "the child must not be what kept or ended Java"
            os.kill(child, signal.SIGKILL)
        player.kill()
        assert "JAVA_TOOL_OPTIONS" not in player.stderr.read()


def test_a_world_leaves_nothing_behind() -> None:
    def make() -> ScienceWorld:
        return ScienceWorld(tasks=TASKS, heap_mb=161, expose_hidden_state=False)

    asyncio.run(begin_and_close(make()))
    check_world_ends(make)
    assert "JAVA_TOOL_OPTIONS" not in os.environ


async def begin_and_close(world: ScienceWorld) -> None:
    """What is loaded once and for good, such as py4j, is loaded here."""
    await (await begin(world)).close()
    world.close()


def test_envs_of_a_closed_world_answer_no_more(world: ScienceWorld) -> None:
    env = asyncio.run(begin(world))
    world.close()
    world.close()
    with pytest.raises(RuntimeError, match="closed"):
        say(env, "look around")
    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(begin(world))
    asyncio.run(env.close())


@linux
def test_all_worlds_and_envs_share_one_java_on_the_loopback(world: ScienceWorld) -> None:
    other = ScienceWorld(
        tasks=TASKS,
        simplifications="easy",
        heap_mb=160,
        step_timeout_s=20.0,
        expose_hidden_state=False,
    )
    envs = [asyncio.run(begin(each)) for each in (world, world, other)]
    assert world.java_pid == other.java_pid is not None
    listening = listening_addresses(world.java_pid or 0)
    assert listening and all(is_loopback(address) for address in listening), listening
    other.close()
    assert say(envs[0], "inventory").valid, "the other world is still played"
    for env in envs:
        asyncio.run(env.close())


def listening_addresses(pid: int) -> list[str]:
    """Of the sockets of a process that accept connections, in the kernel's hexadecimal."""
    inodes = {
        os.readlink(link).split("[")[1].rstrip("]")
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink() and os.readlink(link).startswith("socket:")
    }
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return [row[1].split(":")[0] for row in rows if row[3] == "0A" and row[9] in inodes]


def is_loopback(address: str) -> bool:
    """127.0.0.1, as such or within IPv6, or ::1."""
    return address.endswith(("0100007F", "0" * 24 + "01000000"))


def test_seats_are_reused_and_bounded(world: ScienceWorld) -> None:
    most = JavaOptions(java="java", heap_mb=160, timeout_s=1).max_interfaces
    envs = [asyncio.run(begin(world)) for _ in range(most)]
    with pytest.raises(RuntimeError, match="raise heap_mb"):
        asyncio.run(begin(world))
    asyncio.run(envs.pop().close())
    envs.append(asyncio.run(begin(world)))
    envs.pop()  # forgotten, not closed
    envs.append(asyncio.run(begin(world)))
    assert all(say(env, "look around").valid for env in envs)
    for env in envs:
        asyncio.run(env.close())


def test_threads_play_side_by_side(world: ScienceWorld) -> None:
    commands = ["open door to kitchen", "go to kitchen", "look around", "task", "wait1"] * 3
    texts: dict[int, list[str]] = {}

    async def visit(number: int) -> None:
        env = await begin(world, offset=number % 2)
        answers = [await env.step(Action(command=command)) for command in commands]
        texts[number] = [answer.observation for answer in answers]
        await env.close()

    threads = [threading.Thread(target=lambda n=n: asyncio.run(visit(n))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert len(texts) == 6
    assert texts[0] == texts[2] == texts[4]
    assert texts[1] == texts[3] == texts[5]


def test_a_dead_java_costs_no_episode_that_was_idle(world: ScienceWorld) -> None:
    twin, env = asyncio.run(begin(world)), asyncio.run(begin(world))
    for each in (twin, env):
        say(each, "open door to hallway")
    pid = world.java_pid
    assert pid is not None
    before = say(env, "look around")
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while world.java_pid is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert say(env, "look around") == before, "it was played again in another Java"
    assert say(twin, "look around") == before
    assert world.java_pid not in (None, pid)


def test_a_hanging_java_fails_its_episode_and_no_other(world: ScienceWorld) -> None:
    hung, other = asyncio.run(begin(world)), asyncio.run(begin(world, offset=1))
    before = say(other, "look around")
    pid = world.java_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(JavaError, match="no answer"):
        say(hung, "wait1")
    assert time.monotonic() - began < 40
    assert ends_within(pid, seconds=5)
    assert say(other, "look around") == before
    with pytest.raises(RuntimeError, match="call reset"):
        say(hung, "look around")
    assert asyncio.run(begin(world)) is not None


def test_a_java_that_cannot_start_says_why() -> None:
    with pytest.raises(JavaError, match=r"did not start[\s\S]*heap"):
        start_java(JavaOptions(java="java", heap_mb=10**9, timeout_s=5))
