"""How fast official kitchens are built and played: `python -m dyna.envs.alfworld.benchmark DATA`.

CPU time of one core (set OMP_NUM_THREADS=1), so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from statistics import median
from time import perf_counter, process_time

from dyna.envs.alfworld.problem import read_problem
from dyna.envs.alfworld.world import AlfworldWorld
from dyna.envs.household.benchmark import time_env, time_games
from dyna.envs.household.game import HouseholdGame
from dyna.types import Metrics


def measure_official(data: str, *, num_games: int = 100, num_steps: int = 20_000) -> Metrics:
    """Of kitchens of the split `train`, in the household engine. Keys:

    `time/open_s` (wall: the world, and the list of its games; the first opening of data fills the
    cache), `time/build_ms` (problem to game, mean: passes of Python's garbage collector, which
    fall into one build of a hundred, are in it), `time/build_median_ms`, `time/steps_per_s`,
    `time/steps_per_s_admissible` (with the list of commands after each),
    `time/env_steps_per_s_admissible` (the same through the env, with its `Outcome`).
    """
    begin = perf_counter()
    world = AlfworldWorld(data=data)
    size = world.splits["train"] or 0
    open_seconds = perf_counter() - begin
    tasks = [
        task
        for task in world.tasks(split="train", num=min(size, 4 * num_games))
        if world.house(task).room == "kitchen"
    ][:num_games]
    problems = [world.problem(task) for task in tasks]
    seconds: list[float] = []
    games: list[HouseholdGame] = []
    for problem in problems:
        begin = process_time()
        games.append(HouseholdGame(read_problem(problem, task="-", scene="1")))
        seconds.append(process_time() - begin)
    plain, listed = time_games(games, num_steps=num_steps // len(games))
    through_env = asyncio.run(time_env(world, tasks=tasks, num_steps=num_steps // len(games)))
    return {
        "time/open_s": open_seconds,
        "time/build_ms": 1e3 * sum(seconds) / len(seconds),
        "time/build_median_ms": 1e3 * median(seconds),
        "time/steps_per_s": plain,
        "time/steps_per_s_admissible": listed,
        "time/env_steps_per_s_admissible": through_env,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="a folder as alfworld-download leaves it, or packed games")
    parser.add_argument("--games", type=int, default=100)
    arguments = parser.parse_args()
    figures = measure_official(arguments.data, num_games=arguments.games)
    sys.stdout.write(json.dumps({k: round(v, 3) for k, v in figures.items()}, indent=1) + "\n")


if __name__ == "__main__":
    main()


__all__ = ["measure_official"]
