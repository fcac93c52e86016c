"""How many steps per second the household makes on one core, observation included."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from random import Random
from time import process_time
from typing import Protocol

from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.generator import HouseSpec, generate_house
from dyna.envs.household.house import Family, GoalNaming
from dyna.envs.household.world import HouseholdWorld
from dyna.protocols import World
from dyna.types import Action, Metrics, Task


def measure_steps_per_second(
    *, num_steps: int = 20_000, num_houses: int = 50, full_size: bool = True
) -> Metrics:
    """CPU time of random admissible play, with and without the list of admissible commands, and
    of making a house. Keys: `time/steps_per_s`, `time/steps_per_s_admissible`,
    `time/houses_per_s`."""
    size = 0 if full_size else 5
    spec = HouseSpec(
        num_receptacles=size,
        num_objects=size,
        families=[family.value for family in Family] if full_size else ["pick_and_place"],
        goal_naming=GoalNaming.KIND.value,
    )
    begin = process_time()
    houses = [generate_house(i, spec=spec, vocabulary=ALFWORLD) for i in range(num_houses)]
    house_seconds = process_time() - begin
    plain, listed = time_games(map(HouseholdGame, houses), num_steps=num_steps // num_houses)
    return {
        "time/steps_per_s": plain,
        "time/steps_per_s_admissible": listed,
        "time/houses_per_s": num_houses / house_seconds,
    }


def time_games(games: Iterable[HouseholdGame], *, num_steps: int) -> tuple[float, float]:
    """Steps per second of CPU time, in `num_steps` random steps of each game: without and with the
    list of admissible commands after every step."""
    rng = Random(0)
    records = [random_play(game, num=num_steps, rng=rng) for game in games]
    plain = listed = 0.0
    total = 0
    for game, commands in records:
        total += len(commands)
        game.reset()
        begin = process_time()
        for command in commands:
            game.step(command)
        plain += process_time() - begin
        game.reset()
        begin = process_time()
        for command in commands:
            game.step(command)
            game.admissible()
        listed += process_time() - begin
    return total / plain, total / listed


def random_play(game: HouseholdGame, *, num: int, rng: Random) -> tuple[HouseholdGame, list[str]]:
    """A recorded walk, so that choosing commands is no part of what is timed."""
    game.reset()
    commands: list[str] = []
    for _ in range(num):
        options = game.admissible()
        telling = [c for c in options if not c.startswith("go to ")]
        commands.append(rng.choice(telling if rng.random() < 0.5 else options))
        game.step(commands[-1])
    return game, commands


def measure_env_steps_per_second(
    *, num_steps: int = 20_000, num_tasks: int = 50, admissible: bool = False
) -> float:
    """CPU time of `HouseholdEnv.step` with its `Outcome`, in full-size rooms, on random play."""
    world = HouseholdWorld(
        num_receptacles=0,
        num_objects=0,
        families=[family.value for family in Family],
        max_turns=0,
        admissible=admissible,
    )
    tasks = world.tasks(split="train", num=num_tasks)
    return asyncio.run(time_env(world, tasks=tasks, num_steps=num_steps // num_tasks))


class Playable(World, Protocol):
    """A world of household games."""

    def game(self, task: Task) -> HouseholdGame: ...


async def time_env(world: Playable, *, tasks: Sequence[Task], num_steps: int) -> float:
    """Steps per second of CPU time of the world's env, in up to `num_steps` of each task."""
    rng, env, total, seconds = Random(0), world.make(), 0, 0.0
    for task in tasks:
        _, commands = random_play(world.game(task), num=num_steps, rng=rng)
        actions = [Action(command=command) for command in commands]
        await env.reset(task)
        begin = process_time()
        for action in actions:
            total += 1
            if (await env.step(action)).stop is not None:
                break
        seconds += process_time() - begin
    await env.close()
    return total / seconds
