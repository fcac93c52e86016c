"""ALFWorld's official games in the household engine: all of them, solved, and how fast.

Needs the packed games; nothing of ALFWorld's own is installed. `DYNA_ALFWORLD_GAMES=0` lets the
searching expert play every game instead of a sample.
"""

from __future__ import annotations

import logging
import os
from collections import Counter

import pytest

from dyna.envs.alfworld import AlfworldWorld
from dyna.envs.alfworld.benchmark import measure_official
from dyna.envs.household import Family, HouseholdGame
from dyna.envs.household.oracle import next_command
from dyna.testing import check_world
from dyna.types import Action, Context, Outcome, Start, Task, Turn
from tests.worlds.official_data import official

LOG = logging.getLogger(__name__)
NUM_GAMES = int(os.environ.get("DYNA_ALFWORLD_GAMES", "400"))
PACK = "alfworld_games.jsonl.xz"
SIZES = {"train": 3553, "valid_seen": 140}
"""ALFWorld's own numbers of solvable games; the pack may hold part of the other splits."""


@pytest.fixture(scope="module")
def world() -> AlfworldWorld:
    return AlfworldWorld(data=str(official(PACK)), include_unsolvable=True)


def all_tasks(world: AlfworldWorld) -> list[Task]:
    return [
        task
        for split, size in world.splits.items()
        for task in world.tasks(split=split, num=size or 0)
    ]


def test_the_splits_have_the_official_sizes() -> None:
    splits = AlfworldWorld(data=str(official(PACK))).splits
    assert {split: splits[split] for split in SIZES} == SIZES
    agentgym = AlfworldWorld(data=str(official(PACK)), selection="agentgym")
    assert agentgym.splits["train"] == 2420


def test_the_contract_is_kept_with_official_games(world: AlfworldWorld) -> None:
    for split in world.splits:
        check_world(world, split=split, num_tasks=3)


def test_the_oracle_solves_every_official_game_and_no_two_splits_share_one(
    world: AlfworldWorld,
) -> None:
    lengths: list[int] = []
    families: Counter[str] = Counter()
    first_in: dict[str, str] = {}
    for task in all_tasks(world):
        game = world.game(task)
        assert not game.won
        assert first_in.setdefault(game.house.content_key(), task.split) == task.split
        num = 0
        while not game.won and num < 20:
            _, _, valid = game.step(next_command(game))
            assert valid, task.id
            num += 1
        assert game.won, task.id
        lengths.append(num)
        families[task.family] += 1
    assert set(families) == {family.value for family in Family}
    LOG.info(
        "oracle: solved %d/%d, mean %.1f steps, at most %d; %s",
        len(lengths), len(lengths), sum(lengths) / len(lengths), max(lengths), dict(families),
    )  # fmt: skip


def search(world: AlfworldWorld, task: Task, *, max_turns: int) -> int:
    """Turns that the searching expert needs; one more than the limit if it fails."""
    game: HouseholdGame = world.game(task)
    start, turns = Start(observation=game.reset()), list[Turn]()
    while not game.won and len(turns) <= max_turns:
        context = Context(task=task, start=start, turns=turns, length=len(turns))
        action = Action(command=world.expert(context))
        turns.append(Turn(action=action, outcome=Outcome(observation=game.step(action.command)[0])))
    return len(turns)


def test_the_expert_solves_official_games_from_their_text_alone(world: AlfworldWorld) -> None:
    tasks = all_tasks(world)
    chosen = tasks[:: max(1, len(tasks) // NUM_GAMES)] if NUM_GAMES else tasks
    lengths = sorted(search(world, task, max_turns=100) for task in chosen)
    LOG.info(
        "expert: solved %d/%d within 50 turns, %d within 100, mean %.1f, median %d",
        sum(n <= 50 for n in lengths), len(lengths), sum(n <= 100 for n in lengths),
        sum(lengths) / len(lengths), lengths[len(lengths) // 2],
    )  # fmt: skip
    assert lengths[-1] <= 100
    assert sum(n <= 50 for n in lengths) >= 0.99 * len(lengths)


def test_official_kitchens_are_played_fast_enough() -> None:
    figures = measure_official(str(official(PACK)), num_games=40, num_steps=8000)
    LOG.info("%s", figures)
    assert figures["time/steps_per_s_admissible"] >= 5000
    assert figures["time/env_steps_per_s_admissible"] >= 5000
    assert figures["time/build_ms"] < 5
