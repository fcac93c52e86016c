"""Who plays which task: fixed by the config before anything is played.

Every episode has its id, its seed and its behavior from here, so that it does not matter which
process plays it, when, or how often the collection was stopped in between.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dyna.protocols import HasExpert, HasExplorer, HasSplits, World
from dyna.replay.parquet import read_columns
from dyna.rollout import EpisodeSpec
from dyna.seeding import derive_seed, generator
from dyna.types import Task
from experiments.collecting.config import POLICY, CollectConfig

_log = logging.getLogger(__name__)

PART_PATTERN = "*-[0-9][0-9][0-9][0-9][0-9].parquet"
DEFAULT_SHARES = {
    "expert": 0.2,
    "noisy_expert": 0.3,
    "random": 0.2,
    "invalid": 0.1,
    "explorer": 0.2,
}
"""Of these, what the world allows; for a world model that is to see more than what works."""


class ScheduleError(ValueError):
    """The collection cannot be made as asked."""


class LeakError(ScheduleError):
    """One game is in two splits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file, and one piece of work. Example: `Part(file="train-00003.parquet", ...)`."""

    file: str
    split: str
    specs: tuple[EpisodeSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    shares: Mapping[str, float]
    """By behavior, adding up to 1."""
    parts: tuple[Part, ...]
    tells_games: bool
    """Whether the world can say which tasks are the same game."""

    @property
    def num_episodes(self) -> int:
        return sum(len(part.specs) for part in self.parts)


def make_schedule(
    config: CollectConfig, *, world: World, lists_commands: Callable[[Task], bool]
) -> Schedule:
    """Raises `ScheduleError` for behaviors that the world does not allow and for splits that are
    unknown or have too few tasks, and `LeakError` for a game in two splits."""
    tasks = {split: _tasks(config, world=world, split=split) for split in config.splits}
    # A reset, perhaps of a slow world: only where somebody needs the list.
    needed = not config.shares or config.shares.get("random", 0) > 0
    listed = needed and lists_commands(tasks[config.splits[0]][0])
    shares = find_shares(config, world=world, lists_commands=listed)
    if len(config.splits) > 1 or config.apart_from:
        _check_apart(config, world=world, tasks=tasks)
    parts = [
        part
        for split, found in tasks.items()
        for part in _parts(config, split=split, tasks=found, shares=shares)
    ]
    if len({part.file for part in parts}) < len(parts):
        raise ScheduleError(f"splits {config.splits} cannot be told apart in the names of files")
    return Schedule(shares=shares, parts=tuple(parts), tells_games=isinstance(world, HasSplits))


def find_shares(config: CollectConfig, *, world: World, lists_commands: bool) -> dict[str, float]:
    """The behaviors that play, with shares that add up to 1. Raises `ScheduleError`."""
    lacks = {
        "expert": "" if isinstance(world, HasExpert) else "it has no expert",
        "noisy_expert": "" if isinstance(world, HasExpert) else "it has no expert",
        "explorer": "" if isinstance(world, HasExplorer) else "it has no explorer",
        "random": ""
        if lists_commands
        else "it lists no admissible commands (many worlds do with world.params.admissible=true)",
    }
    asked = {name: share for name, share in config.shares.items() if share > 0}
    for name in asked:
        if lacks.get(name):
            raise ScheduleError(
                f"the behavior `{name}` cannot play in the world `{config.world.name}`: "
                f"{lacks[name]}; set shares.{name}=0"
            )
    chosen = asked or {name: share for name, share in DEFAULT_SHARES.items() if not lacks.get(name)}
    if not config.shares and config.run:
        chosen[POLICY] = 0.5
    total = sum(chosen.values())
    return {name: share / total for name, share in chosen.items()}


def _tasks(config: CollectConfig, *, world: World, split: str) -> list[Task]:
    num = -(-config.episodes // config.episodes_per_task)
    try:
        return list(world.tasks(split=split, num=num, offset=config.world.first_task))
    except ValueError as error:
        raise ScheduleError(
            f"{error} (asked for {num} tasks of split {split!r}: episodes={config.episodes} over "
            f"episodes_per_task={config.episodes_per_task})"
        ) from error


def _check_apart(
    config: CollectConfig, *, world: World, tasks: Mapping[str, Sequence[Task]]
) -> None:
    """Raise `LeakError`, naming both tasks, for a game that is in two splits.

    It may have to make every game, which is why a single split is not looked at.
    """
    if not isinstance(world, HasSplits):
        _log.warning(
            "the world %s has no fingerprints: a game that is in two splits would not be noticed",
            config.world.name,
        )
        return
    owners = _owners(config)
    for split, found in tasks.items():
        for task in found:
            key = world.fingerprint(task)
            other, other_id, where = owners.setdefault(key, (split, task.id, ""))
            if other != split:
                raise LeakError(
                    f"the game of task {task.id!r} (split {split!r}) is also that of task "
                    f"{other_id!r} (split {other!r}){where}: what is learned from one would be "
                    "measured on the other; collect other tasks (world.first_task, world.params)"
                )


def _owners(config: CollectConfig) -> dict[str, tuple[str, str, str]]:
    """By fingerprint: split, task id and place of the games in other collections."""
    owners: dict[str, tuple[str, str, str]] = {}
    for folder in config.apart_from:
        paths = sorted(Path(folder).glob(PART_PATTERN))
        if not paths:
            raise ScheduleError(f"apart_from: {folder} holds no collected episodes")
        for path in paths:
            for row in read_columns(path, names=["task_fingerprint", "task_split", "task_id"]):
                if row["task_fingerprint"]:
                    place = (row["task_split"], row["task_id"], f" of {folder}")
                    owners.setdefault(row["task_fingerprint"], place)
    return owners


def _parts(
    config: CollectConfig, *, split: str, tasks: Sequence[Task], shares: Mapping[str, float]
) -> list[Part]:
    behaviors = _deal(shares, num=config.episodes, seed=derive_seed(config.seed, "deal", split))
    specs = [
        EpisodeSpec(
            task=tasks[index // config.episodes_per_task],
            episode_id=f"{config.name}/{split}/{index:07d}",
            seed=derive_seed(config.seed, "collect", split, index),
            behavior=behavior,
        )
        for index, behavior in enumerate(behaviors)
    ]
    size = config.episodes_per_part
    return [
        Part(
            file=f"{re.sub(r'[^A-Za-z0-9_.]', '_', split)}-{number:05d}.parquet",
            split=split,
            specs=tuple(specs[number * size : (number + 1) * size]),
        )
        for number in range(-(-len(specs) // size))
    ]


def _deal(shares: Mapping[str, float], *, num: int, seed: int) -> list[str]:
    """`num` behaviors in the given shares to the last episode, in an order left to chance."""
    counts = {name: int(share * num) for name, share in shares.items()}
    rest = sorted(shares, key=lambda name: counts[name] - shares[name] * num)
    for name in rest[: num - sum(counts.values())]:
        counts[name] += 1
    dealt = [name for name, count in counts.items() for _ in range(count)]
    order = generator(seed, "order").permutation(num)
    return [dealt[index] for index in order]


__all__ = [
    "DEFAULT_SHARES",
    "PART_PATTERN",
    "LeakError",
    "Part",
    "Schedule",
    "ScheduleError",
    "find_shares",
    "make_schedule",
]
