"""How fast ScienceWorld is on the light path, and whether its memory stays flat. Linux only.

Times are CPU times of this process and of Java together, so that a busy machine does not blur them.
`python -m dyna.envs.scienceworld.benchmark [EPISODES [STEPS]]` prints the figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import process_time

from dyna.envs.scienceworld.task_list import TASK_TYPES
from dyna.envs.scienceworld.world import ScienceWorld, ScienceWorldEnv
from dyna.seeding import generator
from dyna.types import Action, Metrics, Task

_ROOMS = ("kitchen", "hallway", "workshop", "greenhouse", "outside", "art studio", "bedroom")
_ENDS_EPISODES = ("focus", "reset", "wait")


def measure(*, num_episodes: int = 120, num_steps: int = 25, heap_mb: int = 512) -> Metrics:
    """Episodes of all task types with mostly valid commands, as many again only begun.

    `num_episodes` counts both kinds. Keys: `time/steps_per_s`, `time/wait_s` (ten ticks),
    `time/reset_s` with and `time/bare_reset_s` without the hidden state, `time/list_s` for all
    valid actions; `memory/java_mb_early` is Java's resident memory after a tenth of the episodes,
    `memory/java_mb_late` at their end.
    """
    return asyncio.run(_measure(num_episodes, num_steps=num_steps, heap_mb=heap_mb))


async def _measure(num_episodes: int, *, num_steps: int, heap_mb: int) -> Metrics:
    world, bare = (
        ScienceWorld(heap_mb=heap_mb),
        ScienceWorld(heap_mb=heap_mb, expose_hidden_state=False),
    )
    env, bare_env = world.make(), bare.make()
    tasks = world.tasks(split="train", num=max(1, num_episodes // 2))
    # Just-in-time compilation belongs to the start, not to the figures.
    for task in tasks[: len(TASK_TYPES)]:
        await bare_env.reset(task)
    clock = _Clock(world)
    spent = dict.fromkeys(("steps", "wait", "reset", "bare_reset", "list"), 0.0)
    total = listed = 0
    commands: list[str] = []
    early = clock.memory_mb()
    for number, task in enumerate(tasks):
        spent["bare_reset"] += await _reset(bare_env, task=task, clock=clock)
        spent["reset"] += await _reset(env, task=task, clock=clock)
        if number % 10 == 0:
            begin = clock.now()
            valid = env.valid_actions()
            spent["list"] += clock.now() - begin
            listed += 1
            begin = clock.now()
            await bare_env.step(Action(command="wait"))
            spent["wait"] += clock.now() - begin
            commands = _commands(valid, seed=number, num=num_steps)
        begin = clock.now()
        total += await _play(env, commands=commands)
        spent["steps"] += clock.now() - begin
        if number == len(tasks) // 10:
            early = clock.memory_mb()
    late = clock.memory_mb()
    for each in (env, bare_env):
        await each.close()
    for each in (world, bare):
        each.close()
    return {
        "time/steps_per_s": total / spent["steps"],
        "time/wait_s": spent["wait"] / listed,
        "time/reset_s": spent["reset"] / len(tasks),
        "time/bare_reset_s": spent["bare_reset"] / len(tasks),
        "time/list_s": spent["list"] / listed,
        "memory/java_mb_early": early,
        "memory/java_mb_late": late,
        "num/episodes": 2 * len(tasks),
        "num/steps": total,
    }


class _Clock:
    """CPU seconds of this process and its Java; Java's resident memory."""

    def __init__(self, world: ScienceWorld) -> None:
        if world.java_pid is None:
            raise RuntimeError("Java is not running; reset an env first")
        self._folder = Path("/proc") / str(world.java_pid)
        self._ticks = os.sysconf("SC_CLK_TCK")

    def now(self) -> float:
        fields = (self._folder / "stat").read_text().rsplit(")", 1)[1].split()
        return process_time() + (int(fields[11]) + int(fields[12])) / self._ticks

    def memory_mb(self) -> float:
        pages = int((self._folder / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def _reset(env: ScienceWorldEnv, *, task: Task, clock: _Clock) -> float:
    begin = clock.now()
    await env.reset(task)
    return clock.now() - begin


def _commands(valid: Sequence[str], *, seed: int, num: int) -> list[str]:
    """Walks through doors, and commands that were valid at the start; none that ends the game."""
    rng = generator(seed, "scienceworld benchmark")
    usual = [command for command in valid if not command.startswith(_ENDS_EPISODES)]
    commands: list[str] = []
    while len(commands) < num:
        room = _ROOMS[int(rng.integers(len(_ROOMS)))]
        choices = [f"open door to {room}", f"go to {room}", "look around", "inventory", "wait1"]
        choices += [usual[int(rng.integers(len(usual)))] for _ in choices]
        commands.append(choices[int(rng.integers(len(choices)))])
    return commands


async def _play(env: ScienceWorldEnv, *, commands: Sequence[str]) -> int:
    played = 0
    for command in commands:
        played += 1
        if (await env.step(Action(command=command))).stop is not None:
            break
    return played


def main(arguments: Sequence[str]) -> None:
    given = dict(zip(("num_episodes", "num_steps"), map(int, arguments), strict=False))
    figures = measure(**given)
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

__all__ = ["measure"]
