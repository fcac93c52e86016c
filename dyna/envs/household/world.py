"""The household as a world of tasks: splits, environments, and an expert that knows the rules.

A task holds its seed, its split and the spec; its house is made again from these wherever it is
played, so that tasks stay small and travel as JSON.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from threading import Lock
from typing import Any

from dyna.envs.episode import EpisodeClock
from dyna.envs.household.env import HouseholdEnv
from dyna.envs.household.expert import Expert, SearchOrder
from dyna.envs.household.exploration import NearMiss, NoisyExpert
from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.generator import SPLITS, HouseSpec, generate_house
from dyna.envs.household.house import Family, GoalNaming, House
from dyna.envs.household.invented_vocabulary import vocabulary_named
from dyna.envs.household.variation import vary
from dyna.envs.household.vocabulary import Vocabulary
from dyna.envs.task_range import check_range
from dyna.seeding import derive_seed
from dyna.types import Start, Task

_MAX_CACHED_GAMES = 256
_MAX_REPEATS = 1000
"""Seeds in a row that make houses already seen, after which a split is held to be exhausted."""


class HouseholdWorld:
    """Example: `HouseholdWorld(num_receptacles=5, num_objects=4, families=["pick_and_place"])`.

    Raises `ValueError` for a spec that makes no house, and `TypeError` for an unknown parameter.
    """

    expert: Expert
    """Solves any task of this world from its text alone: a command for a `Context`."""
    explorer: NoisyExpert
    """Errs on purpose, and misses narrowly: what a model of this world must have seen."""

    def __init__(
        self,
        *,
        rooms: Sequence[str] = (),
        num_receptacles: int = 5,
        num_objects: int = 4,
        families: Sequence[str] = (Family.PICK_AND_PLACE.value,),
        goal_naming: str = GoalNaming.INSTANCE.value,
        max_per_kind: int = 2,
        num_layouts: int = 256,
        max_turns: int = 20,
        admissible: bool = False,
        expose_hidden_state: bool = True,
        banner: bool = False,
        seed: int = 0,
        vocabulary: Vocabulary | str = "alfworld",
        locked: Sequence[str] = (),
    ) -> None:
        """`rooms` empty means all; sizes of 0 mean full-size rooms; `max_turns` of 0 means no limit
        of the world's own; `seed` chooses another set of houses; `banner` keeps ALFWorld's first
        line; `expose_hidden_state=False` leaves the world model what the agent sees; `vocabulary`
        may be a name, such as `alfworld` or `recast:<seed>`, as a config has it; `locked` names
        kinds of receptacle that must be unlocked before they open, which no text tells."""
        EpisodeClock(max_turns=max_turns)  # raises ValueError below 0
        self.spec = HouseSpec(
            num_receptacles=num_receptacles,
            num_objects=num_objects,
            families=list(families),
            rooms=list(rooms),
            max_per_kind=max_per_kind,
            goal_naming=goal_naming,
            num_layouts=num_layouts,
            locked=list(locked),
        )
        if isinstance(vocabulary, str):
            vocabulary = vocabulary_named(vocabulary)
        self.vocabulary = vocabulary
        self.max_turns = max_turns
        self.admissible = admissible
        self.expose_hidden_state = expose_hidden_state
        self.banner = banner
        self.seed = seed
        order = SearchOrder.LISTED if num_receptacles else SearchOrder.LIKELY
        locks = frozenset(locked)
        self.expert = Expert(vocabulary, order=order, locks=locks)
        near = NearMiss(self.expert, vocabulary=vocabulary, share=0.8, locks=locks)
        self.explorer = NoisyExpert(near, vocabulary=vocabulary, locks=locks)
        self._params = {**asdict(self.spec), "vocabulary": vocabulary.name}
        self._tasks: dict[str, list[Task]] = {split: [] for split in SPLITS}
        self._seen: dict[str, set[str]] = {split: set() for split in SPLITS}
        self._next_index = dict.fromkeys(SPLITS, 0)
        self._games: OrderedDict[str, HouseholdGame] = OrderedDict()
        self._lock = Lock()
        generate_house(seed, spec=self.spec, vocabulary=vocabulary, split=SPLITS[0])

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        check_range(split, num=num, offset=offset, splits=SPLITS)
        with self._lock:
            self._extend(split, length=offset + num)
        return self._tasks[split][offset : offset + num]

    def vary(self, task: Task, start: Start, *, seed: int) -> tuple[Task, Start] | None:
        """Another task in the same house, for dreams; see `dyna.envs.household.variation`."""
        return vary(task, start, vocabulary=self.vocabulary, seed=seed)

    def make(self) -> HouseholdEnv:
        return HouseholdEnv(
            self.game,
            max_turns=self.max_turns,
            admissible=self.admissible,
            expose_hidden_state=self.expose_hidden_state,
            banner=self.banner,
        )

    @property
    def splits(self) -> Mapping[str, int | None]:
        """Tasks are made as they are asked for, until a split's houses are used up."""
        return dict.fromkeys(SPLITS)

    def fingerprint(self, task: Task) -> str:
        """Of the receptacles, what lies where, and the goal. Raises `ValueError` for a task of
        another world."""
        return self.house(task).content_key()

    def house(self, task: Task) -> House:
        """The house of a task. Raises `ValueError` for a task of another world."""
        return self.game(task).house

    def game(self, task: Task) -> HouseholdGame:
        """A fresh game of a task."""
        key = task.id
        with self._lock:
            game = self._games.get(key)
            if game is None:
                game = HouseholdGame(self._rebuild(task))
                self._games[key] = game
                if len(self._games) > _MAX_CACHED_GAMES:
                    self._games.popitem(last=False)
            else:
                self._games.move_to_end(key)
            return game.clone()

    def _extend(self, split: str, *, length: int) -> None:
        """Make the split's tasks up to `length`, leaving out houses it already has."""
        tasks, seen, repeats = self._tasks[split], self._seen[split], 0
        while len(tasks) < length:
            seed = derive_seed(self.seed, "task", split, self._next_index[split])
            self._next_index[split] += 1
            house = generate_house(seed, spec=self.spec, vocabulary=self.vocabulary, split=split)
            key = house.content_key()
            if key in seen:
                repeats += 1
                if repeats > _MAX_REPEATS:
                    raise ValueError(
                        f"split {split!r} has only {len(tasks)} tasks, {length} were asked for; "
                        "allow more receptacles, objects, rooms or families"
                    )
                continue
            repeats = 0
            seen.add(key)
            tasks.append(self._task(house, split=split, seed=seed, key=key))

    def _task(self, house: House, *, split: str, seed: int, key: str) -> Task:
        family = house.goal.family.value
        return Task(
            id=f"household/{family}/{split}/{key}",
            world="household",
            family=family,
            split=split,
            seed=seed,
            params=self._params,
        )

    def _rebuild(self, task: Task) -> House:
        params: Mapping[str, Any] = task.params
        if task.world != "household" or "vocabulary" not in params:
            raise ValueError(f"task {task.id!r} is of world {task.world!r}, not of household")
        if params["vocabulary"] != self.vocabulary.name:
            raise ValueError(
                f"task {task.id!r} uses vocabulary {params['vocabulary']!r}; this world has "
                f"{self.vocabulary.name!r}: make the world with the task's vocabulary"
            )
        spec = HouseSpec(**{k: v for k, v in params.items() if k != "vocabulary"})
        split = task.split if task.split in SPLITS else None
        house = generate_house(task.seed, spec=spec, vocabulary=self.vocabulary, split=split)
        if not task.id.endswith(house.content_key()):
            raise ValueError(
                f"task {task.id!r} gives another house now ({house.content_key()}); it was made by "
                "another version of the generator or the vocabulary"
            )
        return house
