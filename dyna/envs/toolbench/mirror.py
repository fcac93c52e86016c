"""The mirror task: an API's document, one request, one response, as MirrorAPI is trained on.

An episode is one turn. It begins with the document; the action is the request, a JSON object; the
outcome is the response. Which request a task is about only its expert (and `admissible`) says,
so this is a world for models of the world: their measures are exact match and `word_f1`.
"""

from __future__ import annotations

import json
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from dyna.envs.episode import EpisodeClock
from dyna.envs.task_range import check_range
from dyna.envs.toolbench.backends import ResponseCache
from dyna.envs.toolbench.calls import Answer, cut, execute, parse_arguments, unparsable
from dyna.envs.toolbench.catalog import in_categories
from dyna.envs.toolbench.mirror_pairs import (
    SPLITS,
    WORLD,
    Pair,
    draw_pair,
    recorded_pairs,
    split_of,
)
from dyna.envs.toolbench.tables import MAX_ROWS, MIN_ROWS, Tables, make_tables
from dyna.envs.toolbench.texts import hidden_rows
from dyna.seeding import derive_seed
from dyna.types import Action, Context, Outcome, Start, Task

_MAX_CACHED = 1024
_MAX_ATTEMPTS = 50
_MAX_IDLE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorRules:
    max_observation: int
    admissible: bool
    expose_hidden_state: bool


class ToolBenchMirrorWorld:
    """Example: `ToolBenchMirrorWorld(num_tables=4)`; or, with `data` and `cache` set to
    StableToolBench's queries and response cache, the recorded pairs of its real APIs.

    `invalid_share` of the invented requests err in one of ToolBench's ways. `num_tables` sets of
    tables are behind each split; 0 gives every task its own. Raises `ValueError` for parameters
    that make no world; `FileNotFoundError` and `DamagedFileError` for files.
    """

    def __init__(
        self,
        *,
        data: str = "",
        cache: str = "",
        invalid_share: float = 0.25,
        categories: Sequence[str] = (),
        num_rows: int = 12,
        num_tables: int = 0,
        max_observation: int = 0,
        max_turns: int = 0,
        admissible: bool = True,
        expose_hidden_state: bool = True,
        seed: int = 0,
    ) -> None:
        if not 0.0 <= invalid_share <= 1.0:
            raise ValueError(f"toolbench invalid_share must be in [0, 1], got {invalid_share}")
        if not MIN_ROWS <= num_rows <= MAX_ROWS:
            raise ValueError(
                f"toolbench num_rows must be in [{MIN_ROWS}, {MAX_ROWS}], got {num_rows}"
            )
        for name, value in (("num_tables", num_tables), ("max_observation", max_observation)):
            if value < 0:
                raise ValueError(f"toolbench {name} must be >= 0, got {value}")
        EpisodeClock(max_turns=max_turns)  # raises ValueError below 0; the one turn is the limit
        if bool(data) != bool(cache):
            raise ValueError(
                "toolbench_mirror needs both `data` (StableToolBench's queries, for the documents) "
                "and `cache` (its tool_response_cache), or neither"
            )
        in_categories(categories)
        self._spec: dict[str, Any] = {
            "invalid_share": invalid_share,
            "categories": list(categories),
            "num_rows": num_rows,
        }
        self._seed = seed
        self._num_tables = num_tables
        self._rules = MirrorRules(
            max_observation=max_observation,
            admissible=admissible,
            expose_hidden_state=expose_hidden_state,
        )
        self._recorded: dict[str, Pair] | None = None
        self._tasks: dict[str, list[Task]] = {split: [] for split in SPLITS}
        self._seen: set[str] = set()
        self._next: dict[str, int] = dict.fromkeys(SPLITS, 0)
        self._made: OrderedDict[str, tuple[Pair, Tables | None]] = OrderedDict()
        self._lock = Lock()
        if data:
            self._load(Path(data), cache=ResponseCache(Path(cache)))

    @property
    def expert(self) -> Callable[[Context], str]:
        """The task's own request."""
        return lambda context: self.pair(context.task)[0].request

    @property
    def explorer(self) -> Callable[[Context], str]:
        """The task's request with other values, most of which the tables do not hold."""

        def other(context: Context) -> str:
            rng = random.Random(derive_seed(context.seed, "mirror"))
            pair = self.pair(context.task)[0]
            given = parse_arguments(pair.request) or {}
            return json.dumps({key: f"{value}{rng.randrange(10)}" for key, value in given.items()})

        return other

    @property
    def splits(self) -> Mapping[str, int | None]:
        known = self._recorded is not None
        return {split: len(tasks) if known else None for split, tasks in self._tasks.items()}

    def fingerprint(self, task: Task) -> str:
        return self.pair(task)[0].content_key()

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        check_range(split, num=num, offset=offset, splits=SPLITS)
        with self._lock:
            idle = 0
            while len(self._tasks[split]) < offset + num:
                idle = 0 if self._recorded is None and self._extend(split) else idle + 1
                if idle > _MAX_IDLE or self._recorded is not None:
                    raise ValueError(
                        f"split {split!r} has only {len(self._tasks[split])} tasks, "
                        f"{offset + num} were asked for; give more rows, tables or recordings"
                    )
            return self._tasks[split][offset : offset + num]

    def make(self) -> ToolBenchMirrorEnv:
        return ToolBenchMirrorEnv(self, rules=self._rules)

    def pair(self, task: Task) -> tuple[Pair, Tables | None]:
        """A task's document, request and response; and the tables, if it is of an invented API.

        Raises `ValueError` for a task of another world, or of another version of this one.
        """
        if task.world != WORLD:
            raise ValueError(f"task {task.id!r} is of world {task.world!r}, not of {WORLD}")
        if self._recorded is not None:
            if task.id not in self._recorded:
                raise ValueError(f"task {task.id!r} is not recorded here; was the cache changed?")
            return self._recorded[task.id], None
        with self._lock:
            made = self._made.get(task.id)
            if made is None:
                made = self._made[task.id] = _rebuild(task)
                if len(self._made) > _MAX_CACHED:
                    self._made.popitem(last=False)
            return made

    def _extend(self, split: str) -> bool:
        """Try one more seed; whether it gave a task."""
        index = self._next[split]
        self._next[split] += 1
        kept = self._num_tables
        tables_seed = derive_seed(
            self._seed, "mirror tables", split, index % kept if kept else index
        )
        seed = derive_seed(self._seed, "mirror", split, index)
        tables = make_tables(tables_seed, num_rows=self._spec["num_rows"])
        for attempt in range(_MAX_ATTEMPTS):
            pair = draw_pair(
                derive_seed(seed, "pair", attempt), tables=tables, **_drawn(self._spec)
            )
            key = pair.content_key()
            if split_of(pair) == split and key not in self._seen:
                self._seen.add(key)
                params = {**self._spec, "tables": tables_seed, "attempt": attempt}
                self._tasks[split].append(_task(pair, split=split, seed=seed, params=params))
                return True
        return False

    def _load(self, path: Path, *, cache: ResponseCache) -> None:
        self._recorded = {}
        for pair in recorded_pairs(path, cache=cache):
            key = pair.content_key()
            if key in self._seen:
                continue
            self._seen.add(key)
            split = split_of(pair)
            task = _task(pair, split=split, seed=0, params={"recorded": True})
            self._recorded[task.id] = pair
            self._tasks[split].append(task)
        if not self._recorded:
            raise ValueError(
                f"the cache holds no response for any API of {path}; are both of one release?"
            )


def _task(pair: Pair, *, split: str, seed: int, params: Mapping[str, Any]) -> Task:
    family = pair.category
    return Task(
        id=f"{WORLD}/{family}/{split}/{pair.content_key()}",
        world=WORLD,
        family=family,
        split=split,
        seed=seed,
        params=params,
    )


def _drawn(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec[name] for name in ("invalid_share", "categories")}


def _rebuild(task: Task) -> tuple[Pair, Tables]:
    try:
        tables = make_tables(task.params["tables"], num_rows=task.params["num_rows"])
        seed = derive_seed(task.seed, "pair", task.params["attempt"])
        pair = draw_pair(seed, tables=tables, **_drawn(task.params))
    except (KeyError, TypeError) as error:
        raise ValueError(f"task {task.id!r} lacks or distorts a parameter: {error}") from error
    if not task.id.endswith(f"/{task.split}/{pair.content_key()}"):
        raise ValueError(
            f"task {task.id!r} gives another pair now; it was made by another version of the "
            "tables or the APIs: take tasks from this world's own `tasks`"
        )
    return pair, tables


class ToolBenchMirrorEnv:
    """One request, one response. The task is done when its own request has been made."""

    def __init__(self, world: ToolBenchMirrorWorld, *, rules: MirrorRules) -> None:
        self._world = world
        self._rules = rules
        self._clock = EpisodeClock(max_turns=0)
        self._game: tuple[Pair, Tables | None] | None = None

    async def reset(self, task: Task) -> Start:
        pair, tables = self._game = self._world.pair(task)
        self._clock.begin()
        hidden = None
        if self._rules.expose_hidden_state and tables is not None and pair.api is not None:
            values = (parse_arguments(pair.request) or {}).values()
            hidden = hidden_rows([pair.api], tables=tables, entities=values) or "no rows"
        return Start(
            observation=f"API doc: {pair.document}",
            hidden_state=hidden,
            admissible=(pair.request,) if self._rules.admissible else None,
        )

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        if self._game is None:
            raise RuntimeError("this env is closed; call reset before step")
        pair, tables = self._game
        answer = _answer(action.command, pair=pair, tables=tables)
        same = action.command.strip() == pair.request.strip()
        return Outcome(
            observation=cut(answer.text, length=self._rules.max_observation),
            reward=1.0 if same else 0.0,
            terminated=True,
            success=same,
            stop=self._clock.tick(terminated=True),
            # A task's own request may be meant to err; then it says nothing of the agent.
            valid=None if same and answer.error else not answer.error,
            admissible=() if self._rules.admissible else None,
        )

    async def close(self) -> None:
        self._game = None


def _answer(command: str, *, pair: Pair, tables: Tables | None) -> Answer:
    if command.strip() == pair.request.strip():
        return pair.answer
    if len(command) > _MAX_REQUEST:
        return unparsable()
    arguments = parse_arguments(command)
    if arguments is None:
        return unparsable()
    if pair.api is None or tables is None:
        return Answer(error="No recorded response for this input", response="")
    return execute(pair.api, arguments=arguments, tables=tables)


_MAX_REQUEST = 20_000

__all__ = ["ToolBenchMirrorEnv", "ToolBenchMirrorWorld"]
