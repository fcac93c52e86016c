"""An environment of Gymnasium as a world: told in words, played by commands, seeded by task.

A task is a seed. Where the environment draws nothing after its start, equal starts are the same
game: tasks are then told apart, and shared out to the splits, by what the start says.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from threading import Lock
from typing import Any, cast

import gymnasium
from gymnasium import error as gymnasium_error
from gymnasium import spaces

from dyna.envs.episode import EpisodeClock
from dyna.envs.gymnasium.commands import Commands
from dyna.envs.gymnasium.renderings import Rendering, rendering_of
from dyna.envs.gymnasium.seen import Describe, Seen, as_text
from dyna.envs.seed_blocks import SeedBlocks
from dyna.plugins import resolve
from dyna.types import Action, Outcome, Start, StopReason, Task

_NO_TEXT = "(nothing is said)"
_MAX_NAMED = 64
"""Commands that the first message lists; a longer list is left to `admissible`."""
_MAX_REPEATS = 2000
"""Seeds in a row whose starts were all seen, after which there are held to be no more."""
_SHARES = ("train",) * 8 + ("valid", "test")
"""Of ten different starts, in the order of their seeds: whose they are."""


class GymnasiumWorld:
    """Example: `GymnasiumWorld(id="FrozenLake-v1", kwargs={"is_slippery": False})`.

    Raises `ValueError` for an environment that Gymnasium cannot make (with Gymnasium's own words),
    one that says nothing in text where `describe` is not given, and actions that text cannot name
    where `actions` is not given.
    """

    def __init__(
        self,
        *,
        id: str,
        kwargs: Mapping[str, Any] | None = None,
        describe: str = "",
        actions: Mapping[str, Any] | Sequence[str] | str | None = None,
        goal: str = "",
        success_key: str = "",
        success_reward: float | None = None,
        success_is_reward: bool = False,
        random_dynamics: bool | None = None,
        admissible: bool = True,
        num_train: int = 1000,
        num_valid: int = 100,
        num_test: int = 100,
        max_turns: int = 0,
    ) -> None:
        """`kwargs` go to `gymnasium.make`. `describe` is `module:Attr` of a function
        `(seen, *, env) -> str` (see `Seen`). `actions` names the actions (see `Commands`), or is
        `module:Attr` of names or of a function `(command, *, env) -> action`. `goal` opens the
        first message. An episode is won when `info[success_key]` is true, or, without a key, when
        it terminates with a last reward of at least `success_reward` (by default: above 0);
        `success_is_reward=True` replaces the rewards by 1 for that and 0 for all else, which is
        what dreams can hold: the rewards of a dream sum to at most 1 and at least 0.
        `random_dynamics` says whether anything is drawn after the start (None: as known of the
        toy-text environments, otherwise yes). A split of size 0 is not there; see `tasks`."""
        self.id = id
        self.kwargs = dict(kwargs or {})
        self.admissible = admissible
        self.max_turns = max_turns
        self.success_is_reward = success_is_reward
        EpisodeClock(max_turns=max_turns)
        self._key = _key(id, kwargs=self.kwargs)
        self._blocks = SeedBlocks({"train": num_train, "valid": num_valid, "test": num_test})
        env = self.make_env()
        try:
            known = rendering_of(env)
            self.describe = self._describe(env, name=describe, known=known)
            given: Any = resolve("environments", actions) if isinstance(actions, str) else actions
            if given is None and known is not None:
                given = known.commands
            self.commands = Commands(env.action_space, actions=given, env_id=id)
            self._goal = goal or (known.goal(env.unwrapped) if known else "")
            self.success_key = success_key
            self.success_reward = success_reward
            if success_reward is None and known is not None:
                self.success_reward = known.success_reward
            if random_dynamics is None:
                random_dynamics = known is None or known.is_random(env.unwrapped)
            self.random_dynamics = random_dynamics
        finally:
            env.close()
        self._starts = _Starts(self, sizes=self._blocks.sizes)
        self._lock = Lock()

    @property
    def splits(self) -> Mapping[str, int | None]:
        """Without random dynamics, as many as there are different starts; see `tasks`."""
        if self.random_dynamics:
            return dict(self._blocks.sizes)
        with self._lock:
            return self._starts.sizes()

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        """With random dynamics, seeds of the split's own block of a million. Without, the seeds
        from 0 on whose starts are new: of every ten, eight train, one valid, one test."""
        indices = self._blocks.indices(split, num=num, offset=offset)
        if self.random_dynamics:
            seeds = [self._blocks.seed(split, index=index) for index in indices]
        else:
            with self._lock:
                seeds = self._starts.seeds(split, num=offset + num)[offset:]
        return [self._task(seed, split=split) for seed in seeds]

    def fingerprint(self, task: Task) -> str:
        """By the first observation; and by the seed, where that decides what happens later."""
        self.check(task)
        if not self.random_dynamics and (known := self._starts.key(task.seed)):
            return known
        env = self.make_env()
        try:
            text = self.first_text(env, seed=task.seed)
        finally:
            env.close()
        return self.start_key(text, seed=task.seed)

    def start_key(self, text: str, *, seed: int) -> str:
        """Equal for starts that are the same game."""
        drawn = seed if self.random_dynamics else ""
        told = f"{self._key}\0{text}\0{drawn}".encode("utf-8", "surrogatepass")
        return sha256(told).hexdigest()[:16]

    def make(self) -> GymnasiumEnv:
        return GymnasiumEnv(self)

    def make_env(self) -> gymnasium.Env[Any, Any]:
        """The environment itself. Raises `ValueError` with Gymnasium's reason if it cannot be."""
        try:
            made: Any = gymnasium.make(self.id, disable_env_checker=True, **self.kwargs)
        except (gymnasium_error.Error, ModuleNotFoundError, TypeError) as error:
            raise ValueError(f"gymnasium cannot make {self.id!r}: {error}") from error
        return made

    def first_text(self, env: gymnasium.Env[Any, Any], *, seed: int) -> str:
        """What a reset by this seed says, without the goal and the commands."""
        observation, info = env.reset(seed=seed)
        return self.describe(Seen(observation=observation, info=info), env=env)

    def first_message(self, text: str) -> str:
        """The goal, what is seen, and the commands where there are names and not too many."""
        names = self.commands.names or ()
        listed = f"Commands: {', '.join(names)}." if 0 < len(names) <= _MAX_NAMED else ""
        return "\n\n".join(part for part in (self._goal, text, listed) if part) or _NO_TEXT

    def is_success(self, seen: Seen) -> bool:
        if self.success_key:
            return bool(seen.info.get(self.success_key))
        reward = seen.reward or 0.0
        least = self.success_reward
        return seen.terminated and (reward > 0 if least is None else reward >= least)

    def check(self, task: Task) -> None:
        """Raise `ValueError` for a task that is not of this world."""
        if task.world != "gymnasium" or task.params.get("key") != self._key:
            raise ValueError(
                f"task {task.id!r} is not of this world, {self.id!r} with kwargs {self.kwargs}; "
                "make the world with the id and kwargs of the task"
            )
        if task.split not in self._blocks.sizes:
            raise ValueError(f"task {task.id!r} has an unknown split {task.split!r}")

    def _task(self, seed: int, *, split: str) -> Task:
        return Task(
            id=f"gymnasium/{self.id}/{split}/{self._key}-{seed}",
            world="gymnasium",
            family=self.id,
            split=split,
            seed=seed,
            params={"key": self._key},
        )

    def _describe(
        self, env: gymnasium.Env[Any, Any], *, name: str, known: Rendering | None
    ) -> Describe:
        if name:
            found: Any = resolve("environments", name)
            if not callable(found):
                raise TypeError(f"describe must name a function (seen, *, env) -> str: {name!r}")
            return cast(Describe, found)
        if known is not None:
            return known.describe
        if isinstance(env.observation_space, spaces.Text):
            return as_text
        observation, _ = env.reset(seed=0)
        if isinstance(observation, str):
            return as_text
        raise ValueError(
            f"the observations of {self.id!r} are {env.observation_space}, not text: set the "
            "parameter `describe` to `module:Attr`, a function (seen, *, env) -> str that tells "
            "them in words"
        )


class _Starts:
    """The seeds of an environment without random dynamics, shared out by what their starts say."""

    def __init__(self, world: GymnasiumWorld, *, sizes: Mapping[str, int]) -> None:
        self._world = world
        self._sizes = sizes
        self._seen: set[str] = set()
        self._keys: dict[int, str] = {}
        self._found: dict[str, list[int]] = {split: [] for split in sizes}
        self._next_seed = 0
        self._num_repeats = 0

    def key(self, seed: int) -> str | None:
        """The key of the start that a seed was the first to make; None if it is not known."""
        return self._keys.get(seed)

    def seeds(self, split: str, *, num: int) -> list[int]:
        """The first `num` of a split. Raises `ValueError` when there are too few."""
        self._extend({split: num})
        found = self._found[split]
        if len(found) < num:
            raise ValueError(
                f"{self._world.id!r} draws nothing after its start and has only {len(self._seen)} "
                f"different starts, {len(found)} of them in split {split!r}; {num} tasks were "
                "asked for"
            )
        return found[:num]

    def sizes(self) -> dict[str, int | None]:
        """The tasks of each split that has any, up to the size it may have."""
        self._extend(self._sizes)
        found = {split: len(seeds) for split, seeds in self._found.items()}
        return {split: min(num, self._sizes[split]) for split, num in found.items() if num}

    def _extend(self, wanted: Mapping[str, int]) -> None:
        """Look at further seeds until every split has what is wanted, or starts only repeat."""
        if not self._lacks(wanted):
            return
        env = self._world.make_env()
        try:
            while self._lacks(wanted):
                text = self._world.first_text(env, seed=self._next_seed)
                self._take(text, seed=self._next_seed)
                self._next_seed += 1
        finally:
            env.close()

    def _lacks(self, wanted: Mapping[str, int]) -> bool:
        short = any(len(self._found[split]) < num for split, num in wanted.items())
        return short and self._num_repeats < _MAX_REPEATS

    def _take(self, text: str, *, seed: int) -> None:
        self._num_repeats += 1
        key = self._world.start_key(text, seed=seed)
        if key in self._seen:
            return
        self._num_repeats = 0
        owner = _SHARES[len(self._seen) % len(_SHARES)]
        self._seen.add(key)
        self._keys[seed] = key
        if owner in self._found:
            self._found[owner].append(seed)


class GymnasiumEnv:
    """One episode at a time of a `GymnasiumWorld`. Calls block while the environment works."""

    def __init__(self, world: GymnasiumWorld) -> None:
        self._world = world
        self._clock = EpisodeClock(max_turns=world.max_turns)
        self._env: gymnasium.Env[Any, Any] | None = None
        self._admissible: tuple[str, ...] | None = None

    async def reset(self, task: Task) -> Start:
        world = self._world
        world.check(task)
        env = self._env = self._env or world.make_env()
        observation, info = env.reset(seed=task.seed)
        text = world.describe(Seen(observation=observation, info=info), env=env)
        self._clock.begin()
        self._see(info)
        return Start(observation=world.first_message(text), admissible=self._listed())

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        env, world = self._env, self._world
        if env is None:
            raise RuntimeError("this environment was closed; call reset before step")
        try:
            chosen = world.commands.action(action.command, env=env)
        except ValueError as refusal:
            stop = self._clock.tick(terminated=False)
            return Outcome(
                observation=str(refusal) or "That is not understood.",
                stop=stop,
                valid=False,
                admissible=self._listed(),
            )
        name = " ".join(action.command.split())
        valid = None if self._admissible is None else name in self._admissible
        observation, reward, terminated, truncated, info = env.step(chosen)
        seen = Seen(
            observation=observation,
            info=info,
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated),
        )
        return self._outcome(seen, env=env, valid=valid)

    async def close(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def _outcome(self, seen: Seen, *, env: gymnasium.Env[Any, Any], valid: bool | None) -> Outcome:
        world = self._world
        success = world.is_success(seen)
        ended = seen.terminated or success
        stop = self._clock.tick(terminated=ended)
        if stop is None and seen.truncated:
            stop = StopReason.STEP_LIMIT
            # A new clock has not begun: only a reset may follow.
            self._clock = EpisodeClock(max_turns=world.max_turns)
        self._see(seen.info)
        return Outcome(
            observation=world.describe(seen, env=env) or _NO_TEXT,
            reward=float(success) if world.success_is_reward else seen.reward or 0.0,
            terminated=ended,
            success=success,
            stop=stop,
            valid=valid,
            admissible=() if ended and world.commands.names else self._listed(),
        )

    def _see(self, info: Mapping[str, Any]) -> None:
        self._admissible = self._world.commands.possible(info)

    def _listed(self) -> tuple[str, ...] | None:
        return self._admissible if self._world.admissible else None


def _key(env_id: str, *, kwargs: Mapping[str, Any]) -> str:
    try:
        text = json.dumps([env_id, kwargs], sort_keys=True)
    except TypeError:
        raise TypeError(f"kwargs of {env_id!r} must be JSON values, got {kwargs}") from None
    return sha256(text.encode()).hexdigest()[:8]


__all__ = ["GymnasiumEnv", "GymnasiumWorld"]
