"""`dyna worlds check`: the contract kit on every split of a world, and its expert on every task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dyna.config import WorldConfig
from dyna.plugins import build, resolve
from dyna.protocols import HasExpert, HasSplits, World
from dyna.rollout import EpisodeSpec
from dyna.testing import WORLD_CHECKS, Play, check_step_limit, check_world_ends
from dyna.types import Task, Trajectory
from experiments.collecting.config import CollectConfig
from experiments.collecting.players import play_parts
from experiments.collecting.schedule import Part
from experiments.usage import UsageError
from experiments.worlds import opened_world

NUM_ENDLESS = 100
"""Tasks of a split without end that the expert plays unless told otherwise."""
_NUM_CONTRACT = 3
_PER_PART = 50
_NUM_SHOWN = 20


def check_contract(config: WorldConfig, *, split: str, console: Console) -> bool:
    """Print each check with what it says; whether all were kept."""
    kept = True
    with opened_world(config) as world:
        for name, size in _splits(world, split=split).items():
            num = _NUM_CONTRACT if size is None else min(size, _NUM_CONTRACT)
            if num == 0:
                console.print(f"-    {name}: has no tasks", highlight=False)
                continue
            play = Play(split=name, num_tasks=num, step_timeout_s=config.step_timeout_s)
            for said, check in WORLD_CHECKS.items():
                kept &= _say(f"{name}: {said}", partial(check, world, play), console=console)
        first = next(iter(_splits(world, split=split)))

    def remake() -> World:
        return build("environments", config)

    def limited(max_turns: int) -> World:
        return build(
            "environments", replace(config, params={**config.params, "max_turns": max_turns})
        )

    if "max_turns" in inspect.signature(resolve("environments", config.name)).parameters:
        limit = partial(check_step_limit, limited, split=first)
        kept &= _say("its own step limit holds", limit, console=console)
    ends = partial(check_world_ends, remake, split=first)
    return kept & _say("closing it leaves nothing behind", ends, console=console)


def check_expert(
    config: WorldConfig,
    *,
    split: str,
    num_tasks: int,
    num_workers: int,
    console: Console,
) -> bool:
    """Let the expert play; the last line printed is `solved N/M`. Whether it solved all.

    Raises `UsageError` for a world without an expert, and for too few tasks.
    """
    tasks = list(_tasks(config, split=split, num_tasks=num_tasks))
    parts = [
        Part(
            file=f"{at}",
            split=tasks[at].split,
            specs=tuple(
                EpisodeSpec(
                    task=task, episode_id=f"expert/{at + i}", seed=at + i, behavior="expert"
                )
                for i, task in enumerate(tasks[at : at + _PER_PART])
            ),
        )
        for at in range(0, len(tasks), _PER_PART)
    ]
    asked = CollectConfig(world=config, num_workers=num_workers)
    unsolved: list[Trajectory] = []
    with _bar(len(tasks), console=console) as on_episode:
        for played in play_parts(parts, config=asked, behaviors=["expert"], on_episode=on_episode):
            unsolved += [t for t in played.trajectories if not t.success]
    for trajectory in unsolved[:_NUM_SHOWN]:
        why = trajectory.error or f"{trajectory.stop.value} after {len(trajectory.turns)} turns"
        console.print(f"not solved: {trajectory.task.id}: {why}", markup=False, highlight=False)
    if len(unsolved) > _NUM_SHOWN:
        console.print(f"... and {len(unsolved) - _NUM_SHOWN} more", highlight=False)
    console.print(f"solved {len(tasks) - len(unsolved)}/{len(tasks)}", highlight=False)
    return not unsolved and bool(tasks)


def _say(told: str, check: Callable[[], None], *, console: Console) -> bool:
    try:
        check()
    except AssertionError as error:
        console.print(f"FAIL {told}\n     {error}", markup=False, highlight=False)
        return False
    console.print(f"ok   {told}", markup=False, highlight=False)
    return True


def _splits(world: World, *, split: str) -> Mapping[str, int | None]:
    """By name, with the number of tasks where there is one. Raises `UsageError`."""
    splits = dict(world.splits) if isinstance(world, HasSplits) else {split or "train": None}
    if not split:
        return splits
    if split not in splits:
        raise UsageError(f"split must be one of {', '.join(splits)}, got {split!r}")
    return {split: splits[split]}


def _tasks(config: WorldConfig, *, split: str, num_tasks: int) -> Iterator[Task]:
    with opened_world(config) as world:
        if not isinstance(world, HasExpert):
            raise UsageError(f"the world `{config.name}` has no expert")
        for name, size in _splits(world, split=split).items():
            num = num_tasks or (NUM_ENDLESS if size is None else size)
            if size is not None:
                num = min(num, size)
            try:
                yield from world.tasks(split=name, num=num)
            except ValueError as error:
                raise UsageError(str(error)) from error


@contextmanager
def _bar(total: int, *, console: Console) -> Iterator[Callable[[Trajectory], None]]:
    bars = Progress(
        TextColumn("the expert plays"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with bars:
        task = bars.add_task("", total=total)
        yield lambda _: bars.advance(task)


__all__ = ["NUM_ENDLESS", "check_contract", "check_expert"]
