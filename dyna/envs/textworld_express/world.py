"""TextWorldExpress as a world of tasks, with splits that share no game and no first scene.

The package's own folds repeat themselves: many seeds of one fold begin like a seed of another. Here
a hash of the goal and the first scene sends every game to one split, and a seed whose game belongs
elsewhere is passed over. What was found for a task is kept on disk, because the package draws the
gold paths of some games (coin, twc) at random: the first one found stays the expert's for good.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from importlib.metadata import version
from threading import RLock

from dyna.envs.caching import cache_folder
from dyna.envs.episode import EpisodeClock
from dyna.envs.extras import require, require_java
from dyna.envs.jvm import Jvm
from dyna.envs.task_range import check_range
from dyna.envs.textworld_express.found import FoundGame, keep_first, read_found
from dyna.envs.textworld_express.machine import Machine
from dyna.envs.walkthrough import WalkthroughExpert
from dyna.seeding import derive_seed
from dyna.types import Action, Outcome, Start, Task

GAMES = (
    "cookingworld",
    "twc",
    "coin",
    "mapreader",
    "arithmetic",
    "sorting",
    "simonsays",
    "peckingorder",
)
_WORLD = "textworld_express"
_EXTRA = "textworld-express"
_FOLDS: Mapping[str, str] = {"train": "train", "dev": "dev", "test": "test"}
_SHARES: Mapping[str, Sequence[int]] = {"train": range(6), "dev": (6,), "test": (7,)}
"""The eighths of all first scenes that each split owns."""
_MAX_ATTEMPTS = 1000
_MAX_KEPT = 4096


class TextWorldExpressWorld:
    """Example: `TextWorldExpressWorld(game="coin", params="numLocations=4,includeDoors=0")`.

    Raises `MissingExtraError` without the extra or Java, `ValueError` for a wrong parameter.
    """

    expert: WalkthroughExpert
    """Follows the game's own gold path."""

    def __init__(
        self,
        *,
        game: str = "cookingworld",
        params: str = "",
        admissible: bool = True,
        max_turns: int = 0,
        seed: int = 0,
        heap_mb: int = 256,
        timeout_s: float = 60.0,
    ) -> None:
        """`params` are the game's own, as `name=number` joined by commas; `admissible` lists the
        possible commands; `max_turns` of 0 means no limit of the world's own; `seed` chooses
        another set of games; `heap_mb` caps Java's memory; `timeout_s` bounds one call."""
        require(_EXTRA, world=_WORLD)
        if game not in GAMES:
            raise ValueError(f"textworld_express game must be one of {list(GAMES)}, got {game!r}")
        if max_turns < 0:
            raise ValueError(f"max_turns must be >= 0 (0 for no limit), got {max_turns}")
        if heap_mb < 32:
            raise ValueError(f"textworld_express heap_mb must be >= 32, got {heap_mb}")
        if timeout_s <= 0:
            raise ValueError(f"textworld_express timeout_s must be > 0, got {timeout_s}")
        self.game = game
        self.params = params
        self.admissible = admissible
        self.max_turns = max_turns
        self.seed = seed
        self.expert = WalkthroughExpert(self.gold_path, when_done="look around")
        self._java = require_java(world=_WORLD)
        self._heap_mb, self._timeout_s = heap_mb, timeout_s
        identity = json.dumps([game, params, seed, version(_EXTRA)])
        self._digest = blake2b(identity.encode(), digest_size=5).hexdigest()
        self._lock = RLock()
        self._jvm: Jvm | None = None
        self._machine: Machine | None = None
        self._found: OrderedDict[str, FoundGame] = OrderedDict()
        self._folder = cache_folder(_WORLD) / self._digest
        self.make_machine().close()

    @property
    def splits(self) -> Mapping[str, int | None]:
        return dict.fromkeys(_FOLDS)

    @property
    def java_pid(self) -> int | None:
        """The process of this world's Java; None while there is none."""
        return self._jvm.pid if self._jvm is not None and self._jvm.alive else None

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        check_range(split, num=num, offset=offset, splits=_FOLDS)
        return [self._task(split, index=index) for index in range(offset, offset + num)]

    def make(self) -> TextWorldExpressEnv:
        return TextWorldExpressEnv(self)

    def fingerprint(self, task: Task) -> str:
        """A hash of the goal and of the first scene: no two splits have a scene in common."""
        return self.find(task).key

    def gold_path(self, task: Task) -> Sequence[str]:
        return self.find(task).gold

    def find(self, task: Task) -> FoundGame:
        """The game of a task.

        Raises `ValueError` for a task that this world did not give, or if its split has no game.
        """
        self._check(task)
        with self._lock:
            found = self._found.get(task.id)
            if found is None:
                path = self._folder / task.split / f"{task.seed:016x}.json"
                found = read_found(path) or keep_first(path, found=self._search(task))
                self._found[task.id] = found
                if len(self._found) > _MAX_KEPT:
                    self._found.popitem(last=False)
            return found

    def make_machine(self) -> Machine:
        """A game machine in this world's Java, which is started if it is not running."""
        with self._lock:
            if self._jvm is None or not self._jvm.alive:
                if self._jvm is not None:
                    self._jvm.close()
                self._jvm = Jvm(
                    "textworld_express",
                    jar="textworld-express.jar",
                    java=self._java,
                    heap_mb=self._heap_mb,
                    timeout_s=self._timeout_s,
                )
                self._machine = None
            return Machine(self._jvm, game=self.game, params=self.params)

    def close(self) -> None:
        """End Java. Envs made before answer no more."""
        with self._lock:
            if self._jvm is not None:
                self._jvm.close()
            self._jvm = self._machine = None

    def _search(self, task: Task) -> FoundGame:
        if self._machine is None or self._jvm is None or not self._jvm.alive:
            self._machine = self.make_machine()
        for attempt in range(_MAX_ATTEMPTS):
            seed = derive_seed(task.seed, "attempt", attempt) % 2**31
            found = self._machine.inspect(seed, fold=_FOLDS[task.split])
            if found.solved and int(found.key[:8], 16) % 8 in _SHARES[task.split]:
                return FoundGame(seed=seed, key=found.key, gold=found.gold)
        raise ValueError(
            f"{_MAX_ATTEMPTS} seeds in a row made no game of split {task.split!r} of "
            f"{self.game} with params {self.params!r}; choose params that allow more games"
        )

    def _task(self, split: str, *, index: int) -> Task:
        return Task(
            id=f"{_WORLD}/{self.game}/{split}/{self._digest}-{index}",
            world=_WORLD,
            family=self.game,
            split=split,
            seed=derive_seed(self.seed, _WORLD, self._digest, split, index),
            params={"params": self.params},
        )

    def _check(self, task: Task) -> None:
        index = task.id.rpartition("-")[2]
        known = task.world == _WORLD and task.split in _FOLDS and index.isdecimal()
        if not known or task != self._task(task.split, index=int(index)):
            raise ValueError(
                f"task {task.id!r} of world {task.world!r}, split {task.split!r}, was not given by"
                f" this world ({self.game}, params {self.params!r}, seed {self.seed}); another"
                " game, other parameters or another version of textworld-express gave it"
            )


class TextWorldExpressEnv:
    """The reward of a step is what it added to the score, which is 1 when the task is done."""

    def __init__(self, world: TextWorldExpressWorld) -> None:
        self._world = world
        self._machine: Machine | None = None
        self._clock = EpisodeClock(max_turns=world.max_turns)
        self._score = 0.0

    async def reset(self, task: Task) -> Start:
        """Raises `ValueError` for a task of another world, `JavaError` if Java is gone."""
        seed = self._world.find(task).seed
        if self._machine is None:
            self._machine = self._world.make_machine()
        answer = self._machine.generate(seed, fold=_FOLDS[task.split])
        self._clock.begin()
        self._score = answer.score
        return Start(
            observation=f"{answer.task}\n\n{answer.observation}",
            admissible=answer.admissible if self._world.admissible else None,
        )

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        assert self._machine is not None
        answer = self._machine.step(action.command.strip())
        gained, self._score = answer.score - self._score, answer.score
        over = answer.won or answer.lost
        listed = () if over else answer.admissible
        return Outcome(
            observation=answer.observation,
            reward=gained,
            terminated=over,
            success=answer.won,
            stop=self._clock.tick(terminated=over),
            valid=answer.understood,
            admissible=listed if self._world.admissible else None,
        )

    async def close(self) -> None:
        if self._machine is not None:
            self._machine.close()
        self._machine = None


__all__ = ["GAMES", "TextWorldExpressEnv", "TextWorldExpressWorld"]
