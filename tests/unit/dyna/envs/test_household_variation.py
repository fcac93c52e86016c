"""Other tasks in a known house."""

from __future__ import annotations

import asyncio
import re

from dyna.envs.household import HouseholdWorld
from dyna.imagination import plan_dreams
from dyna.types import Start, StopReason, Task, Trajectory

WORLD = HouseholdWorld(rooms=["kitchen"], num_receptacles=5, num_objects=4)


def _starts(num: int) -> list[tuple[Task, Start]]:
    tasks = WORLD.tasks(split="train", num=num)
    env = WORLD.make()
    return [(task, asyncio.run(env.reset(task))) for task in tasks]


def test_only_the_goal_changes_and_view_and_hidden_state_agree_on_it() -> None:
    for task, start in _starts(30):
        varied = WORLD.vary(task, start, seed=7)
        assert varied is not None
        posed, imagined = varied
        thing, place = re.findall(
            r"put (\w+ \d+) in (\w+ \d+)\.$", imagined.observation, flags=re.MULTILINE
        )[0]
        assert imagined.hidden_state is not None and start.hidden_state is not None
        assert imagined.hidden_state.endswith(f"You move the {thing} to the {place}.")
        scene = start.observation.partition("Your task is to:")[0]
        assert imagined.observation.startswith(scene)
        assert imagined.hidden_state.splitlines()[:-1] == start.hidden_state.splitlines()[:-1]
        assert posed.id != task.id and posed.split == task.split


def test_the_new_goal_does_not_hold_at_the_start_and_can_be_carried_out() -> None:
    for task, start in _starts(30):
        for seed in range(5):
            varied = WORLD.vary(task, start, seed=seed)
            assert varied is not None
            thing, place = varied[0].id.rsplit("/", 2)[1:]
            here = place.replace("-", " ")
            assert start.hidden_state is not None
            line = next(x for x in start.hidden_state.splitlines() if f"he {here}" in x)
            assert thing.replace("-", " ") not in line
            assert WORLD.vocabulary.can_hold(place.split("-")[0], object_kind=thing.split("-")[0])


def test_no_task_is_made_up_without_a_hidden_state_or_for_kinds() -> None:
    task, start = _starts(1)[0]
    assert WORLD.vary(task, Start(observation=start.observation), seed=0) is None
    by_kind = HouseholdWorld(rooms=["kitchen"], goal_naming="kind")
    task = by_kind.tasks(split="train", num=1)[0]
    start = asyncio.run(by_kind.make().reset(task))
    assert by_kind.vary(task, start, seed=0) is None


def test_dreams_of_new_tasks_are_groups_of_one_task_each() -> None:
    real = [
        Trajectory(id=f"r/{i}", task=task, start=start, turns=(), stop=StopReason.STEP_LIMIT)
        for i, (task, start) in enumerate(_starts(4))
    ]
    dreams = plan_dreams(real, num=40, group_size=4, new_task_fraction=0.5, vary=WORLD.vary, seed=3)
    groups: dict[str, set[str]] = {}
    for dream in dreams:
        groups.setdefault(dream.spec.group_id, set()).add(dream.spec.task.id)
    assert all(len(tasks) == 1 for tasks in groups.values())
    varied = sum("/imagined/" in next(iter(tasks)) for tasks in groups.values())
    assert 0 < varied < len(groups)
