"""What an OpenEnv server of ours serves: one world, to many sessions at once.

Each session plays tasks of its own. Which one follows from the seed of a reset, as a training
library would give it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from dyna.envs.imagined import ImaginedWorld
from dyna.protocols import Env, HasSplits, World
from dyna.types import Source, Task

_log = logging.getLogger(__name__)


class Serving:
    """What is served, and to how many.

    `split` is what a reset plays that names none. At most the first `num_tasks` of a split are
    served. `make` makes envs, isolated where the world needs it; by default `world.make`.
    `hidden_state=True` sends the world's privileged state with the start. A reset or step that
    takes more than `step_timeout_s` is given up, as far as the world gives way.

    Raises `ValueError` for a split that the world has not, and numbers out of range.
    """

    def __init__(
        self,
        world: World,
        *,
        name: str = "",
        split: str = "train",
        num_tasks: int = 1000,
        max_sessions: int = 64,
        step_timeout_s: float = 60.0,
        hidden_state: bool = False,
        make: Callable[[], Env] | None = None,
    ) -> None:
        if num_tasks < 1 or max_sessions < 1 or not 0 < step_timeout_s < math.inf:
            raise ValueError(
                "num_tasks and max_sessions must be >= 1, and step_timeout_s above 0 and finite; "
                f"got {num_tasks}, {max_sessions} and {step_timeout_s}"
            )
        self.world = world
        self.source = Source.IMAGINED if isinstance(world, ImaginedWorld) else Source.REAL
        self.splits = _splits(world, split=split, num_tasks=num_tasks)
        self.default_split = split
        self.name = name or world.tasks(split=split, num=1)[0].world
        self.max_sessions = max_sessions
        self.step_timeout_s = step_timeout_s
        self.hidden_state = hidden_state
        self.make = make or world.make
        self._turn = count()
        self._closing: set[asyncio.Task[None]] = set()

    def choose(self, *, seed: int | None, split: str, task_id: str) -> Task:
        """The task that a reset asks for. Raises `ValueError` if there is none."""
        split = split or self.default_split
        if split not in self.splits:
            raise ValueError(f"split must be one of {list(self.splits)}, got {split!r}")
        size = self.splits[split]
        if task_id:
            for task in self.world.tasks(split=split, num=size):
                if task.id == task_id:
                    return task
            raise ValueError(f"there is no task {task_id!r} among the {size} of split {split!r}")
        place = next(self._turn) if seed is None else int(seed)
        return self.world.tasks(split=split, num=1, offset=place % size)[0]

    def close_later(self, env: Env) -> None:
        """Close an env on the running loop, without waiting for it."""
        task = asyncio.get_running_loop().create_task(_close(env))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    @property
    def description(self) -> Mapping[str, Any]:
        """What a client of ours reads from the schema; see `dyna.envs.openenv.schema`."""
        return {
            "world": self.name,
            "source": self.source.value,
            "split": self.default_split,
            "splits": dict(self.splits),
        }


def _splits(world: World, *, split: str, num_tasks: int) -> dict[str, int]:
    """The splits that are served, with how many tasks of each."""
    real = world.world if isinstance(world, ImaginedWorld) else world
    if not isinstance(real, HasSplits):
        world.tasks(split=split, num=num_tasks)
        return {split: num_tasks}
    sizes = {
        name: num_tasks if size is None else min(size, num_tasks)
        for name, size in real.splits.items()
    }
    sizes = {name: size for name, size in sizes.items() if size}
    if split not in sizes:
        raise ValueError(f"split must be one of {list(sizes)}, got {split!r}")
    return sizes


async def _close(env: Env) -> None:
    try:
        await env.close()
    except Exception:
        _log.exception("an env could not be closed")


__all__ = ["Serving"]
