"""TextWorld as a world of tasks: seeds without end, each made into a game when it is first played.

A task names a seed; its game lies in a cache that any number of processes share. Listing tasks
makes no game, so thousands can be listed at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from importlib.metadata import version

from dyna.envs.caching import cache_folder
from dyna.envs.extras import require
from dyna.envs.task_range import check_range
from dyna.envs.textworld.challenges import Setting, complete_settings, find_challenge
from dyna.envs.textworld.env import PlayOptions, TextWorldEnv
from dyna.envs.textworld.store import GameRequest, GameStore, MadeGame
from dyna.envs.textworld.text import TEXT_VERSION
from dyna.envs.walkthrough import WalkthroughExpert
from dyna.seeding import derive_seed
from dyna.types import Task

GENERATOR_VERSION = 1
"""Of the way from a task's seed to its game; raised when equal tasks would give other games."""
_WORLD = "textworld"
_DIGEST_LENGTH = 10


class TextWorldWorld:
    """Example: `TextWorldWorld(challenge="tw-coin_collector", settings={"level": 10})`.

    Raises `MissingExtraError` without the extra, `ValueError` or `TypeError` for a wrong parameter.
    """

    expert: WalkthroughExpert
    """Follows the walkthrough that the generator gave with the game."""

    def __init__(
        self,
        *,
        challenge: str = "tw-simple",
        settings: Mapping[str, Setting] | None = None,
        admissible: bool = True,
        banner: bool = False,
        status_line: bool = False,
        max_turns: int = 0,
        seed: int = 0,
    ) -> None:
        """`settings` are the challenge's own (see `CHALLENGES`); `admissible` lists the possible
        commands; `banner` keeps the large letters of a game's first text; `status_line` ends every
        text with room, score and turn; `max_turns` of 0 means no limit of the world's own; `seed`
        chooses another set of games."""
        require(_WORLD, world=_WORLD)
        if max_turns < 0:
            raise ValueError(f"max_turns must be >= 0 (0 for no limit), got {max_turns}")
        self.challenge = challenge
        self.settings = complete_settings(challenge, settings=settings or {})
        self.admissible = admissible
        self.banner = banner
        self.status_line = status_line
        self.max_turns = max_turns
        self.seed = seed
        self.expert = WalkthroughExpert(self.walkthrough, when_done="look")
        self._splits = find_challenge(challenge).splits
        self._store = GameStore(cache_folder(_WORLD))
        identity = {
            "challenge": challenge,
            "settings": self.settings,
            "seed": seed,
            "package": version("textworld"),
            "generator": GENERATOR_VERSION,
            "text": TEXT_VERSION,
        }
        self._identity = json.dumps(identity, sort_keys=True)
        digest = blake2b(self._identity.encode(), digest_size=8).hexdigest()
        self._digest = digest[:_DIGEST_LENGTH]

    @property
    def splits(self) -> Mapping[str, int | None]:
        return dict.fromkeys(self._splits)

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        check_range(split, num=num, offset=offset, splits=self._splits)
        return [self._task(split, index=index) for index in range(offset, offset + num)]

    def make(self) -> TextWorldEnv:
        options = PlayOptions(
            admissible=self.admissible,
            banner=self.banner,
            status_line=self.status_line,
            max_turns=self.max_turns,
        )
        return TextWorldEnv(self.game, options=options)

    def game(self, task: Task) -> MadeGame:
        """The game of a task, made now if need be: some seconds.

        Raises `ValueError` for a task that this world did not give, `GameMakingError` if the
        generator fails.
        """
        self._check(task)
        split = self._splits[task.split]
        key = f"{self._identity}/{task.split}/{task.seed}"
        return self._store.get(
            blake2b(key.encode(), digest_size=16).hexdigest(),
            request=GameRequest(
                challenge=self.challenge,
                settings={**self.settings, **split.settings},
                split=task.split,
                buckets=split.buckets,
                seed=task.seed,
            ),
        )

    def fingerprint(self, task: Task) -> str:
        """See `dyna.envs.textworld.content`. Makes the game if need be."""
        return self.game(task).content

    def walkthrough(self, task: Task) -> Sequence[str]:
        """The commands that win a task's game."""
        return self.game(task).walkthrough

    def prepare(self, tasks: Sequence[Task], *, num_makers: int = 1) -> None:
        """Make the games of `tasks` beforehand, with `num_makers` processes at a time."""
        if num_makers < 1:
            raise ValueError(f"num_makers must be >= 1, got {num_makers}")
        worlds = [self._twin() for _ in range(num_makers)]

        def make_share(number: int) -> None:
            for task in tasks[number::num_makers]:
                worlds[number].game(task)

        try:
            with ThreadPoolExecutor(max_workers=num_makers) as pool:
                list(pool.map(make_share, range(num_makers)))
        finally:
            for world in worlds:
                world.close()

    def close(self) -> None:
        """End the game-making process, if there is one. Another starts if a game is asked for."""
        self._store.close()

    def _twin(self) -> TextWorldWorld:
        return TextWorldWorld(challenge=self.challenge, settings=self.settings, seed=self.seed)

    def _task(self, split: str, *, index: int) -> Task:
        return Task(
            id=f"{_WORLD}/{self.challenge}/{split}/{self._digest}-{index}",
            world=_WORLD,
            family=self.challenge,
            split=split,
            seed=derive_seed(self.seed, _WORLD, self._digest, split, index),
            params={"settings": dict(self.settings)},
        )

    def _check(self, task: Task) -> None:
        index = task.id.rpartition("-")[2]
        if task.world != _WORLD or task.split not in self._splits or not index.isdecimal():
            raise ValueError(
                f"task {task.id!r} of world {task.world!r}, split {task.split!r}, is no task of"
                f" textworld {self.challenge}"
            )
        mine = self._task(task.split, index=int(index))
        if task != mine:
            raise ValueError(
                f"task {task.id!r} is not this world's ({mine.id!r}); it was given for another"
                " challenge, other settings, another seed, or by another version of textworld"
            )


__all__ = ["GENERATOR_VERSION", "TextWorldWorld"]
