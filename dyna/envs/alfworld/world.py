"""ALFWorld's official games as a world: one id, two engines, the same words from both.

`engine="python"` plays a game in the household engine, in microseconds a step and with nothing
installed. `engine="official"` plays it in ALFWorld's own, as the reference. Tasks, observations
and lists of commands are equal; tests hold them to it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from threading import RLock

from dyna.envs.alfworld.folder import GameFolder
from dyna.envs.alfworld.games import GameSource, OfficialGameInfo
from dyna.envs.alfworld.official import OfficialGame
from dyna.envs.alfworld.pack import GamePack
from dyna.envs.alfworld.problem import ProblemError, read_problem
from dyna.envs.alfworld.variation import vary
from dyna.envs.alfworld.vocabulary import OFFICIAL
from dyna.envs.episode import EpisodeClock
from dyna.envs.extras import require
from dyna.envs.household import Expert, Family, House, HouseholdEnv, HouseholdGame
from dyna.envs.household.env import GameEnv
from dyna.envs.household.exploration import NearMiss, NoisyExpert
from dyna.envs.household.hidden_state import describe_hidden_state
from dyna.envs.household.oracle import Oracle
from dyna.envs.task_range import check_range, take
from dyna.files import DamagedFileError
from dyna.protocols import Env
from dyna.types import Context, Start, Task

_MAX_CACHED_GAMES = 256
_GET_DATA = (
    "set `data` to the folder that `alfworld-download` made (it comes with pip install "
    '"dyna-agents[alfworld]"), or to games packed as JSON lines (.jsonl, .jsonl.xz)'
)


class Engine(StrEnum):
    PYTHON = "python"
    OFFICIAL = "official"


class Selection(StrEnum):
    OFFICIAL = "official"
    """ALFWorld's splits: `train`, `valid_seen`, `valid_unseen`, `valid_train`."""
    AGENTGYM = "agentgym"
    """AgentGym's numbered lists, 2,420 games to train on and 200 to test, as Word2World used."""


class ExpertKind(StrEnum):
    SEARCH = "search"
    """Looks for things as an agent must, from the text alone."""
    ORACLE = "oracle"
    """Reads the hidden state and goes straight for the goal."""


class AlfworldWorld:
    """Example: `AlfworldWorld(data="~/.cache/alfworld").tasks(split="valid_seen", num=140)`.

    Raises `ValueError` for a parameter that cannot be, and where there are no data,
    `DamagedFileError` for data that are not whole, and `MissingExtraError` if `engine="official"`
    is not installed.
    """

    oracle: Oracle
    """Solves every solvable game by the shortest way it sees; it knows what is hidden."""
    explorer: NoisyExpert
    """Errs on purpose, and misses narrowly: what a model of this world must have seen."""

    def __init__(
        self,
        *,
        data: str = "",
        engine: str = Engine.PYTHON.value,
        selection: str = Selection.OFFICIAL.value,
        include_unsolvable: bool = False,
        families: Sequence[str] = (),
        max_turns: int = 0,
        admissible: bool = True,
        expose_hidden_state: bool = True,
        banner: bool = False,
        expert: str = ExpertKind.SEARCH.value,
    ) -> None:
        """`data` empty means `$ALFWORLD_DATA`, or `~/.cache/alfworld`, as ALFWorld itself does.
        `include_unsolvable` also gives the games that ALFWorld flags as unsolvable (AgentGym's
        lists always have theirs); `families` empty means all six; `max_turns` of 0 means no limit
        of the world's own; `admissible` lists the commands of every turn; `banner` keeps ALFWorld's
        first line; `expose_hidden_state=False` leaves the world model what the agent sees."""
        self.engine = Engine(_one_of("engine", value=engine, options=Engine))
        self.selection = Selection(_one_of("selection", value=selection, options=Selection))
        kind = ExpertKind(_one_of("expert", value=expert, options=ExpertKind))
        for name in families:
            _one_of("families", value=name, options=Family)
        EpisodeClock(max_turns=max_turns)  # raises ValueError below 0
        if self.engine is Engine.OFFICIAL:
            require("alfworld", world="alfworld with engine=official")
        self.include_unsolvable = include_unsolvable
        self.families = frozenset(families)
        self.max_turns = max_turns
        self.admissible = admissible
        self.expose_hidden_state = expose_hidden_state
        self.banner = banner
        self.oracle = Oracle(self.game)
        search = Expert(OFFICIAL)
        self._expert = self.oracle if kind is ExpertKind.ORACLE else search
        self.explorer = NoisyExpert(
            NearMiss(search, vocabulary=OFFICIAL, share=0.8), vocabulary=OFFICIAL
        )
        self._source = _open(data)
        self._lock = RLock()
        self._tasks: dict[str, list[Task]] = {}
        self._infos: dict[str, OfficialGameInfo] = {}
        self._seen: dict[str, Task] = {}
        self._games: OrderedDict[str, HouseholdGame] = OrderedDict()
        self._names = self._split_names()

    @property
    def expert(self) -> Callable[[Context], str]:
        return self._expert

    @property
    def splits(self) -> Mapping[str, int | None]:
        return {split: len(self._split(split)) for split in self._names}

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        """In an order of their own (by hash of their ids; AgentGym's lists by its numbers), so
        that the first few of a split are a sample of it."""
        check_range(split, num=num, offset=offset, splits=self._names)
        return take(self._split(split), split=split, num=num, offset=offset)

    def fingerprint(self, task: Task) -> str:
        """Of the receptacles, what lies where, and the goal. Raises `ValueError` for a task that
        these data do not have."""
        return self.house(task).content_key()

    def house(self, task: Task) -> House:
        return self.game(task).house

    def game(self, task: Task) -> HouseholdGame:
        """A fresh game of a task. Raises `ValueError` as `fingerprint` does."""
        with self._lock:
            game = self._games.get(task.id)
            info = self._info(task)
            if game is None:
                game = HouseholdGame(self._read(info))
                self._games[task.id] = game
                if len(self._games) > _MAX_CACHED_GAMES:
                    self._games.popitem(last=False)
            else:
                self._games.move_to_end(task.id)
            return game.clone()

    def problem(self, task: Task) -> str:
        """The planning problem of a task, in PDDL."""
        with self._lock:
            return self._source.problem(self._info(task))

    def make(self) -> Env:
        if self.engine is Engine.OFFICIAL:
            return GameEnv(
                lambda task: OfficialGame(self.problem(task), ours=self.game(task)),
                hidden_state=_told if self.expose_hidden_state else None,
                max_turns=self.max_turns,
                admissible=self.admissible,
                banner=self.banner,
            )
        return HouseholdEnv(
            self.game,
            max_turns=self.max_turns,
            admissible=self.admissible,
            expose_hidden_state=self.expose_hidden_state,
            banner=self.banner,
        )

    def vary(self, task: Task, start: Start, *, seed: int) -> tuple[Task, Start] | None:
        """Another task in the same house, for dreams; see `dyna.envs.alfworld.variation`."""
        return vary(task, start, seed=seed)

    def _split_names(self) -> list[str]:
        if self.selection is Selection.OFFICIAL:
            return list(self._source.splits())
        names = [name for name in ("train", "test") if self._numbered(name)]
        if not names:
            raise ValueError(
                "selection='agentgym' needs data with AgentGym's numbers (fields agentgym_train "
                "and agentgym_test of packed games); use selection='official' with these"
            )
        return names

    def _numbered(self, split: str) -> list[OfficialGameInfo]:
        """AgentGym's list, in its order."""
        found = [
            (number, game)
            for part in self._source.splits()
            for game in self._source.games(part)
            if (number := game.agentgym_train if split == "train" else game.agentgym_test)
            is not None
        ]
        return [game for _, game in sorted(found, key=lambda pair: pair[0])]

    def _split(self, split: str) -> list[Task]:
        with self._lock:
            if split not in self._tasks:
                if self.selection is Selection.AGENTGYM:
                    games = self._numbered(split)
                else:
                    games = [
                        game
                        for game in sorted(self._source.games(split), key=_order)
                        if game.solvable or self.include_unsolvable
                    ]
                games = [g for g in games if not self.families or g.family in self.families]
                tasks = [self._task(game, split=split) for game in games]
                self._infos |= {task.id: game for task, game in zip(tasks, games, strict=True)}
                self._tasks[split] = tasks
            return self._tasks[split]

    def _task(self, game: OfficialGameInfo, *, split: str) -> Task:
        task = Task(
            id=f"alfworld/{game.family}/{split}/{game.id}",
            world="alfworld",
            family=game.family.value,
            split=split,
            params={"problem": game.digest},
        )
        same = self._seen.setdefault(game.digest, task)
        if same.split != split:
            raise ValueError(
                f"{same.id!r} and {task.id!r} are the same game in two splits; what is learned on "
                f"one must not be measured on the other: remove one ({self._source.where(game)})"
            )
        return task

    def _info(self, task: Task) -> OfficialGameInfo:
        if task.world != "alfworld":
            raise ValueError(f"task {task.id!r} is of world {task.world!r}, not of alfworld")
        if task.split in self._names:
            self._split(task.split)
        info = self._infos.get(task.id)
        if info is None or f"/{task.split}/" not in task.id:
            raise ValueError(f"these data have no task {task.id!r} in split {task.split!r}")
        if task.params.get("problem", info.digest) != info.digest:
            raise ValueError(
                f"task {task.id!r} was made from other data: its problem was "
                f"{task.params['problem']}, here it is {info.digest}"
            )
        return info

    def _read(self, info: OfficialGameInfo) -> House:
        try:
            return read_problem(self._source.problem(info), task=info.task, scene=info.scene)
        except ProblemError as error:
            raise DamagedFileError(
                f"{self._source.where(info)} cannot be played: {error}; fetch the data again, or "
                "remove this game"
            ) from error


def _open(data: str) -> GameSource:
    path = Path(data or os.environ.get("ALFWORLD_DATA") or "~/.cache/alfworld").expanduser()
    if path.is_dir():
        return GameFolder(path)
    if path.is_file():
        return GamePack(path)
    raise ValueError(f"data: there is no {path}; {_GET_DATA}")


def _told(game: OfficialGame) -> str:
    return describe_hidden_state(game.ours)


def _order(game: OfficialGameInfo) -> bytes:
    return blake2b(game.id.encode(), digest_size=8).digest()


def _one_of(name: str, *, value: str, options: type[StrEnum]) -> str:
    known = [option.value for option in options]
    if value not in known:
        raise ValueError(f"{name} must be one of {known}, got {value!r}")
    return value


__all__ = ["AlfworldWorld", "Engine", "ExpertKind", "Selection"]
