"""The household beside the real ALFWorld engine: every sentence, every list, every ending.

Official games, and generated houses written as the engine's own, are played in both with random,
expert and impossible commands. Needs the `alfworld` extra, and skips, saying so, without it.
`DYNA_DIFFERENTIAL_GAMES` is the number of official games, of all six kinds of task alike: 6 if not
set, 200 for the full comparison, which takes about half an hour of one core.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from functools import cache
from random import Random

import pytest

from dyna.envs.alfworld import AlfworldWorld
from dyna.envs.alfworld.official import OfficialEngine
from dyna.envs.household import ALFWORLD, Family, HouseholdGame, HouseSpec, generate_house
from dyna.envs.household.pddl import write_problem
from dyna.types import Task
from tests.differential.both_engines import Comparison, compare
from tests.worlds.official_data import official

pytest.importorskip("alfworld", reason="the alfworld extra is not installed")

LOG = logging.getLogger(__name__)
NUM_GAMES = int(os.environ.get("DYNA_DIFFERENTIAL_GAMES", "6"))
PER_FAMILY = -(-NUM_GAMES // len(Family))
GENERATED = min(4, PER_FAMILY)
"""Houses per family; kinds and instances are named in turn."""
TOTAL: Counter[str] = Counter()


@pytest.fixture(scope="module")
def real() -> OfficialEngine:
    return OfficialEngine()


@cache
def world() -> AlfworldWorld:
    return AlfworldWorld(data=str(official("alfworld_games.jsonl.xz")), include_unsolvable=True)


def official_tasks(family: Family) -> list[Task]:
    """A sample of all splits, the same at every run."""
    tasks = [
        task
        for split, size in world().splits.items()
        for task in world().tasks(split=split, num=size or 0)
        if task.family == family
    ]
    return Random(family.value).sample(tasks, PER_FAMILY)


def count(result: Comparison, *, what: str) -> None:
    TOTAL[f"{what} games"] += 1
    TOTAL[f"{what} steps"] += result.num_steps
    TOTAL[f"{what} impossible commands"] += result.num_invalid
    TOTAL[f"{what} wins"] += result.won
    LOG.info("equal so far: %s", dict(TOTAL))


@pytest.mark.parametrize("family", list(Family))
def test_official_games_are_those_of_the_real_engine(family: Family, real: OfficialEngine) -> None:
    for number, task in enumerate(official_tasks(family)):
        game, problem = world().game(task), world().problem(task)
        num = 20 if NUM_GAMES == 6 else 60
        result = compare(game, real, problem=problem, seed=number, num_random=num, num_expert=60)
        assert not result.differences, "\n".join(result.differences[:5])
        count(result, what="official")


@pytest.mark.parametrize("family", list(Family))
def test_generated_houses_are_games_of_the_real_engine(
    family: Family, real: OfficialEngine
) -> None:
    for number in range(GENERATED):
        naming = ("kind", "instance")[(number + list(Family).index(family)) % 2]
        spec = HouseSpec(
            num_receptacles=0, num_objects=0, families=[family.value], goal_naming=naming
        )
        house = generate_house(1000 + number, spec=spec, vocabulary=ALFWORLD)
        result = compare(
            HouseholdGame(house),
            real,
            problem=write_problem(house),
            seed=number,
            num_random=20,
            num_expert=60,
        )
        assert not result.differences, "\n".join(result.differences[:5])
        count(result, what="generated")
