"""Several worlds behind one: what a run plays when it learns one experience after another.

A task says in its params which experience it belongs to, and its id begins with the name; the world
behind it gets the task as it made it. Every episode of any experience can be played at any time, so
that old skills are measured and practiced beside new ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dyna.nearest import did_you_mean
from dyna.plugins import build
from dyna.protocols import (
    Closeable,
    Env,
    HasExpert,
    HasExplorer,
    HasSplits,
    HasVariations,
    World,
)
from dyna.sections.worlds import PluginConfig
from dyna.stream import EXPERIENCE, experience_of
from dyna.types import Action, Context, Outcome, Start, Task


class StreamWorld:
    """Example: `StreamWorld(worlds={"heat": {"name": "household", "params": {...}}, ...})`

    `worlds` are sections of a config, by experience. Splits are those of the worlds: `heat:train`
    is of one experience; `train` takes turns, a task of every experience each, in their order.
    `splits` are other names by experience, for worlds that call the same thing otherwise:
    `{"shop": {"valid_unseen": "dev"}}`.

    Raises `ValueError` for a stream without worlds or with a world that cannot be made.
    """

    def __init__(
        self,
        *,
        worlds: Mapping[str, Mapping[str, Any]],
        splits: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        if not worlds:
            raise ValueError("a stream needs at least one experience, got none")
        self._other_names = {name: dict((splits or {}).get(name, {})) for name in worlds}
        self._worlds: dict[str, World] = {
            name: build("environments", PluginConfig(**section)) for name, section in worlds.items()
        }

    @property
    def experiences(self) -> tuple[str, ...]:
        return tuple(self._worlds)

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        name, colon, inner = split.rpartition(":")
        if colon:
            world = self._world(name)
            inner = self._other_names[name].get(inner, inner)
            found = world.tasks(split=inner, num=num, offset=offset)
            return [_outer(task, experience=name) for task in found]
        # The k-th of all is the (k // n)-th of experience k % n.
        names, turns = self.experiences, range(offset, offset + num)
        return [
            self.tasks(split=f"{names[k % len(names)]}:{split}", num=1, offset=k // len(names))[0]
            for k in turns
        ]

    def make(self) -> StreamEnv:
        return StreamEnv({name: world.make for name, world in self._worlds.items()})

    @property
    def splits(self) -> Mapping[str, int | None]:
        """Those that all worlds have; a split of one experience is a part of such a one."""
        own = [
            {**world.splits, **self._renamed(name, splits=world.splits)}
            for name, world in self._worlds.items()
            if isinstance(world, HasSplits)
        ]
        if len(own) < len(self._worlds):
            return {}
        together: dict[str, int | None] = {}
        for split in (split for split in own[0] if all(split in has for has in own)):
            sizes = [num for has in own if (num := has[split]) is not None]
            together[split] = min(sizes) * len(own) if sizes else None
        return together

    def _renamed(self, name: str, *, splits: Mapping[str, int | None]) -> Mapping[str, int | None]:
        names = self._other_names[name]
        return {other: splits[inner] for other, inner in names.items() if inner in splits}

    def fingerprint(self, task: Task) -> str:
        """The world's own. Raises `ValueError` where the world has none."""
        world = self._world(experience_of(task))
        if not isinstance(world, HasSplits):
            raise ValueError(f"the world of experience {experience_of(task)!r} has no fingerprints")
        return world.fingerprint(_inner(task))

    def vary(self, task: Task, start: Start, *, seed: int) -> tuple[Task, Start] | None:
        name = experience_of(task)
        world = self._world(name)
        varied = None
        if isinstance(world, HasVariations):
            varied = world.vary(_inner(task), start, seed=seed)
        return varied and (_outer(varied[0], experience=name), varied[1])

    def expert(self, context: Context) -> str:
        """What the expert of the task's world would do. Raises `ValueError` where it has none."""
        world = self._world(experience_of(context.task))
        if not isinstance(world, HasExpert):
            raise ValueError(
                f"the world of experience {experience_of(context.task)!r} has no expert; set its "
                "real.demonstrations to 0, or name another real.expert"
            )
        return _ask(world.expert, context=context)

    def explorer(self, context: Context) -> str:
        """As `expert`, for a world that knows which mistakes are worth making."""
        world = self._world(experience_of(context.task))
        if not isinstance(world, HasExplorer):
            raise ValueError(
                f"the world of experience {experience_of(context.task)!r} has no explorer; name "
                "another real.exploration, such as `random`"
            )
        return _ask(world.explorer, context=context)

    def close(self) -> None:
        for world in self._worlds.values():
            if isinstance(world, Closeable):
                world.close()

    def _world(self, name: str) -> World:
        if name not in self._worlds:
            hint = did_you_mean(name, list(self._worlds))
            raise ValueError(
                f"there is no experience {name!r} in the stream{hint}; it has "
                f"{', '.join(self._worlds)}"
            )
        return self._worlds[name]


class StreamEnv:
    """Plays an episode of any of the worlds; each one's env is made when it is first needed."""

    def __init__(self, makers: Mapping[str, Callable[[], Env]]) -> None:
        self._makers = makers
        self._made: dict[str, Env] = {}
        self._env: Env | None = None

    async def reset(self, task: Task) -> Start:
        """Raises `ValueError` for a task of no experience of the stream."""
        name = experience_of(task)
        if name not in self._makers:
            raise ValueError(
                f"task {task.id!r} is of experience {name!r}, the stream has "
                f"{', '.join(self._makers)}"
            )
        if name not in self._made:
            self._made[name] = self._makers[name]()
        self._env = self._made[name]
        return await self._env.reset(_inner(task))

    async def step(self, action: Action) -> Outcome:
        """Raises `RuntimeError` before the first reset."""
        if self._env is None:
            raise RuntimeError("no episode is running; call reset first")
        return await self._env.step(action)

    async def close(self) -> None:
        for env in self._made.values():
            await env.close()


def _outer(task: Task, *, experience: str) -> Task:
    params = {**task.params, EXPERIENCE: experience}
    return replace(task, id=f"{experience}/{task.id}", params=params)


def _inner(task: Task) -> Task:
    """As its world made it."""
    params = {key: value for key, value in task.params.items() if key != EXPERIENCE}
    return replace(task, id=task.id.removeprefix(f"{experience_of(task)}/"), params=params)


def _ask(script: Callable[[Context], str], *, context: Context) -> str:
    return script(replace(context, task=_inner(context.task)))


__all__ = ["StreamEnv", "StreamWorld"]
