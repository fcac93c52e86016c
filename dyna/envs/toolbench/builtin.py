"""The world of invented APIs: tasks by number of calls, played against tables in memory."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from dyna.envs.task_range import check_range
from dyna.envs.toolbench.catalog import in_categories
from dyna.envs.toolbench.problems import (
    MAX_CALLS,
    SPLITS,
    Problem,
    belongs,
    draw_problem,
    wants_held_out,
)
from dyna.envs.toolbench.tables import MAX_ROWS, MIN_ROWS, Tables, make_tables
from dyna.seeding import derive_seed
from dyna.types import Task

WORLD = "toolbench"
_MAX_CACHED = 256
_MAX_ATTEMPTS = 200
"""Chains drawn over the tables of one seed before the next seed is tried."""
_MAX_IDLE = 30
"""Seeds in a row that give nothing new, after which a split is held to be exhausted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSpec:
    """What kind of problems there are. Raises `ValueError` for one that makes none."""

    calls: list[int] = field(default_factory=lambda: [1, 2, 3, 4])
    num_distractors: int = 4
    num_rows: int = 12
    num_tables: int = 0
    """How many sets of tables a split shares; 0 gives every task its own."""
    categories: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        wrong = [n for n in self.calls if not 1 <= n <= MAX_CALLS]
        if wrong or not self.calls:
            raise ValueError(
                f"toolbench calls must list numbers in [1, {MAX_CALLS}], got {self.calls}"
            )
        for name, value in (
            ("num_distractors", self.num_distractors),
            ("num_tables", self.num_tables),
        ):
            if value < 0:
                raise ValueError(f"toolbench {name} must be >= 0, got {value}")
        if not MIN_ROWS <= self.num_rows <= MAX_ROWS:
            raise ValueError(
                f"toolbench num_rows must be in [{MIN_ROWS}, {MAX_ROWS}], got {self.num_rows}"
            )
        in_categories(self.categories)


class ProblemBook:
    """The tasks of every split, made as they are asked for, and their problems made again.

    Thread-safe. A task alone says how its problem is made, so that it can travel.
    """

    def __init__(self, spec: ProblemSpec, *, seed: int) -> None:
        self.spec = spec
        self._seed = seed
        self._tasks: dict[str, list[Task]] = {split: [] for split in SPLITS}
        self._seen: dict[str, set[str]] = {split: set() for split in SPLITS}
        self._next = dict.fromkeys(SPLITS, 0)
        self._made: OrderedDict[str, tuple[Problem, Tables]] = OrderedDict()
        self._lock = Lock()

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        check_range(split, num=num, offset=offset, splits=SPLITS)
        with self._lock:
            idle = 0
            while len(self._tasks[split]) < offset + num:
                idle = 0 if self._extend(split) else idle + 1
                if idle > _MAX_IDLE:
                    raise ValueError(
                        f"split {split!r} has only {len(self._tasks[split])} tasks, "
                        f"{offset + num} were asked for; allow more rows, calls or categories"
                    )
            return self._tasks[split][offset : offset + num]

    def problem(self, task: Task) -> tuple[Problem, Tables]:
        """The problem of a task, and the tables it is about.

        Raises `ValueError` for a task of another world, or of another version of this one.
        """
        with self._lock:
            made = self._made.get(task.id)
            if made is None:
                made = _rebuild(task)
                self._made[task.id] = made
                if len(self._made) > _MAX_CACHED:
                    self._made.popitem(last=False)
            return made

    def _extend(self, split: str) -> bool:
        """Try one more seed; whether it gave a task."""
        index = self._next[split]
        self._next[split] += 1
        seed = derive_seed(self._seed, "task", split, index)
        kept = self.spec.num_tables
        tables_seed = derive_seed(self._seed, "tables", split, index % kept if kept else index)
        tables = make_tables(tables_seed, num_rows=self.spec.num_rows)
        num_calls = random.Random(seed).choice(sorted(set(self.spec.calls)))
        for attempt in range(_MAX_ATTEMPTS):
            found = draw_problem(
                derive_seed(seed, "chain", attempt),
                tables=tables,
                num_calls=num_calls,
                num_distractors=self.spec.num_distractors,
                categories=self.spec.categories,
                held_out=wants_held_out(split),
            )
            if found is None or not belongs(found, split=split):
                continue
            key = found.content_key()
            if key in self._seen[split]:
                continue
            self._seen[split].add(key)
            self._tasks[split].append(
                Task(
                    id=f"{WORLD}/calls_{num_calls}/{split}/{key}",
                    world=WORLD,
                    family=f"calls_{num_calls}",
                    split=split,
                    seed=seed,
                    params={
                        **asdict(self.spec),
                        "num_calls": num_calls,
                        "attempt": attempt,
                        "tables": tables_seed,
                    },
                )
            )
            return True
        return False


def _rebuild(task: Task) -> tuple[Problem, Tables]:
    params: Mapping[str, Any] = task.params
    if task.world != WORLD or "attempt" not in params:
        raise ValueError(f"task {task.id!r} is of world {task.world!r}, not of {WORLD}")
    try:
        tables = make_tables(params["tables"], num_rows=params["num_rows"])
        problem = draw_problem(
            derive_seed(task.seed, "chain", params["attempt"]),
            tables=tables,
            num_calls=params["num_calls"],
            num_distractors=params["num_distractors"],
            categories=params["categories"],
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"task {task.id!r} lacks or distorts a parameter: {error}") from error
    if problem is None or not task.id.endswith(f"/{task.split}/{problem.content_key()}"):
        raise ValueError(
            f"task {task.id!r} gives another problem now; it was made by another version of the "
            "tables or the APIs: take tasks from this world's own `tasks`"
        )
    return problem, tables


__all__ = ["WORLD", "ProblemBook", "ProblemSpec"]
