"""How fast games are made and played here: `python -m dyna.envs.textworld.benchmark`.

Makes its games in a cache of its own, which is removed again. Times are wall-clock, of one process.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from time import perf_counter

from dyna.envs.caching import VARIABLE
from dyna.envs.textworld.challenges import CHALLENGES
from dyna.envs.textworld.world import TextWorldWorld
from dyna.types import Action, Metrics, Task


def measure_challenge(challenge: str, *, num_games: int = 4, num_steps: int = 400) -> Metrics:
    """Keys: `time/first_game_s` (starting the maker included), `time/games_per_s`,
    `time/reset_s`, `time/steps_per_s` (random admissible play, list included) and
    `memory/resident_mib` of this process at the end. Needs `num_games` of at least 2."""
    world = TextWorldWorld(challenge=challenge)
    tasks = world.tasks(split="train", num=num_games)
    begin = perf_counter()
    world.game(tasks[0])
    first = perf_counter() - begin
    begin = perf_counter()
    for task in tasks[1:]:
        world.game(task)
    making = perf_counter() - begin
    world.close()
    reset_s, steps_per_s = asyncio.run(_play(world, tasks=tasks, num_steps=num_steps))
    return {
        "time/first_game_s": first,
        "time/games_per_s": (num_games - 1) / making,
        "time/reset_s": reset_s,
        "time/steps_per_s": steps_per_s,
        "memory/resident_mib": _resident_mib(),
    }


async def _play(
    world: TextWorldWorld, *, tasks: Sequence[Task], num_steps: int
) -> tuple[float, float]:
    env, rng = world.make(), Random(0)
    await env.reset(tasks[0])
    resetting = stepping = 0.0
    num_resets = taken = 0
    while taken < num_steps:
        begin = perf_counter()
        start = await env.reset(tasks[num_resets % len(tasks)])
        resetting += perf_counter() - begin
        num_resets += 1
        listed, stop = start.admissible, None
        begin = perf_counter()
        for _ in range(50):
            outcome = await env.step(Action(command=rng.choice(listed or ("look",))))
            listed, stop = outcome.admissible, outcome.stop
            taken += 1
            if stop is not None:
                break
        stepping += perf_counter() - begin
    await env.close()
    return resetting / num_resets, taken / stepping


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run() -> None:
    """Write one line per challenge to standard output."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[VARIABLE] = folder
        for challenge in CHALLENGES:
            measured = measure_challenge(challenge)
            words = ", ".join(f"{name} {value:.3g}" for name, value in measured.items())
            sys.stdout.write(f"{challenge}: {words}\n")


if __name__ == "__main__":
    run()
