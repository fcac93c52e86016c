"""`dyna collect`: real episodes of many behaviors, in parallel, into files that say what they are.

What is played follows from the config alone. A collection that is stopped, killed too, is
continued by the same command: the parts that are there are kept, and the rest is as it would have
been.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dyna.envs.isolation import isolate
from dyna.ledger import ACT, Ledger
from dyna.protocols import World
from dyna.rollout import BrokenPolicyError
from dyna.types import StopReason, Task, Trajectory
from experiments.collecting.config import CollectConfig
from experiments.collecting.coverage import Coverage
from experiments.collecting.folder import CollectionFolder, missing_parts
from experiments.collecting.players import Played, play_parts
from experiments.collecting.provenance import provenance
from experiments.collecting.schedule import Schedule, ScheduleError, make_schedule
from experiments.worlds import opened_world

_log = logging.getLogger(__name__)

_MIN_BROKEN = 3
"""Episodes of one behavior that must all fail by its own fault before it is given up."""


def collect(
    config: CollectConfig,
    *,
    folder: Path,
    skip_damaged: bool = False,
    console: Console | None = None,
) -> Path:
    """Play what is not there yet, and return the path of the manifest.

    With `skip_damaged` parts that are not whole are put aside and played again.

    Raises `ScheduleError` or `FolderError` before anything is played, `DamagedFileError` for a
    part that is not whole, `BrokenPolicyError` for a behavior that cannot act at all, and what a
    world or policy raises that cannot be made. What was written stays.
    """
    console = console or Console()
    with console.status("looking at the tasks"):
        schedule = _schedule(config)
    place = CollectionFolder(folder)
    place.open(config)
    tally = _Tally(schedule)
    for played in place.kept(schedule, skip_damaged=skip_damaged):
        tally.add(played)
    if tally.num_episodes:
        console.print(f"kept {tally.num_episodes} episodes that are there already", soft_wrap=True)
    source = provenance(config)
    with _bar(schedule, console=console, done=tally.num_episodes) as on_episode:
        for played in play_parts(
            missing_parts(place, schedule=schedule),
            config=config,
            behaviors=list(schedule.shares),
            on_episode=on_episode,
        ):
            tally.check(played)
            place.write(played, provenance=source)
            tally.add(played)
    tally.ledger.save(str(folder))
    console.print(tally.coverage.table())
    return place.finish(
        schedule, provenance=source, coverage=tally.coverage.rows(), counts=tally.counts
    )


def _schedule(config: CollectConfig) -> Schedule:
    with opened_world(config.world) as world:
        return make_schedule(
            config,
            world=world,
            lists_commands=lambda task: _lists_commands(config, world=world, task=task),
        )


def _lists_commands(config: CollectConfig, *, world: World, task: Task) -> bool:
    """Whether the world says at the start of an episode which commands there are."""

    async def look() -> bool:
        env = envs.make()
        try:
            start = await asyncio.wait_for(env.reset(task), config.world.step_timeout_s)
        finally:
            await env.close()
        return bool(start.admissible)

    envs = isolate(world, config=config.world)
    try:
        return asyncio.run(look())
    except TimeoutError:
        raise ScheduleError(
            f"the world {config.world.name!r} did not begin its first task within "
            f"world.step_timeout_s={config.world.step_timeout_s:g}"
        ) from None
    finally:
        envs.close()


class _Tally:
    """Everything that is counted, from the parts alone, whenever they were played."""

    def __init__(self, schedule: Schedule) -> None:
        self.coverage = Coverage()
        self.counts: dict[str, dict[str, int]] = {}
        self._seconds = 0.0
        self.ledger = Ledger(clock=lambda: self._seconds)
        self._planned = Counter(s.behavior for part in schedule.parts for s in part.specs)
        self._sound: Counter[str] = Counter()
        self._broken: Counter[str] = Counter()

    @property
    def num_episodes(self) -> int:
        return sum(counts["episodes"] for counts in self.counts.values())

    def add(self, played: Played) -> None:
        # The clock stands still but for what the parts say that they took.
        with self.ledger.phase(ACT):
            self._seconds += played.seconds
        for trajectory in played.trajectories:
            self.coverage.add(trajectory)
            self.ledger.enter(trajectory)
            broken = trajectory.stop is StopReason.POLICY_ERROR
            (self._broken if broken else self._sound)[trajectory.behavior] += 1
        self.counts[played.part.file] = {
            "episodes": len(played.trajectories),
            "turns": sum(len(t.turns) for t in played.trajectories),
            "failures": sum(t.stop.is_failure for t in played.trajectories),
        }

    def check(self, played: Played) -> None:
        """Raise `BrokenPolicyError` for a behavior that has never acted and fails every time."""
        failed = [t for t in played.trajectories if t.stop is StopReason.POLICY_ERROR]
        for behavior in dict.fromkeys(t.behavior for t in failed):
            theirs = [t for t in played.trajectories if t.behavior == behavior]
            mine = [t for t in failed if t.behavior == behavior]
            num = self._broken[behavior] + len(mine)
            enough = num >= min(_MIN_BROKEN, self._planned[behavior])
            if enough and len(mine) == len(theirs) and not self._sound[behavior]:
                raise BrokenPolicyError(
                    f"all {num} episodes of {behavior!r} so far failed; the last, {mine[-1].id}: "
                    f"{mine[-1].error}; mend it, or set shares.{behavior}=0 in another folder"
                )


@contextmanager
def _bar(schedule: Schedule, *, console: Console, done: int) -> Any:
    """A bar on a terminal, and nothing elsewhere; yields what to tell of each episode."""
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[said]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    wins = Counter[str]()

    def on_episode(trajectory: Trajectory) -> None:
        wins["won"] += trajectory.success
        wins["failed"] += trajectory.stop.is_failure
        bars.update(task, advance=1, said=_said(wins))

    with bars:
        task = bars.add_task("episodes", total=schedule.num_episodes, completed=done, said="")
        yield on_episode


def _said(wins: Mapping[str, int]) -> str:
    failed = f", {wins['failed']} failed" if wins["failed"] else ""
    return f"{wins['won']} won{failed}"


__all__ = ["collect"]
