"""ToolBench as a world: its own invented APIs, or StableToolBench's queries from a path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dyna.envs.toolbench.builtin import ProblemBook, ProblemSpec
from dyna.envs.toolbench.episodes import Rules, ToolBenchEnv
from dyna.envs.toolbench.experts import ChainExpert, NoisyChainExpert
from dyna.envs.toolbench.judge import Judge, make_judge
from dyna.envs.toolbench.official import OfficialEnv, QueryBook, make_backend
from dyna.envs.toolbench.problems import SPLITS
from dyna.envs.toolbench.texts import Documents
from dyna.protocols import Env
from dyna.types import Task

_MIN_OBSERVATION = 512
"""The longest response of an invented API fits; the expert must be able to read it."""
_MATCHES = ("exact", "f1")


class ToolBenchWorld:
    """Example: `ToolBenchWorld(calls=[1, 2], num_distractors=2)`, or, with StableToolBench's files,
    `ToolBenchWorld(data="solvable_queries/test_instruction", cache="tool_response_cache")`.

    Raises `ValueError` for parameters that make no world; `FileNotFoundError` and
    `DamagedFileError` for files.
    """

    expert: ChainExpert
    """Makes a task's calls in order. Only without `data`: nobody knows the official answers."""
    explorer: NoisyChainExpert
    """Errs as agents err. Only without `data`."""

    def __init__(
        self,
        *,
        data: str = "",
        server: str = "",
        cache: str = "",
        judge: Mapping[str, Any] | None = None,
        toolbench_key: str = "",
        timeout_s: float = 60.0,
        test_share: float = 0.5,
        calls: Sequence[int] = (1, 2, 3, 4),
        num_distractors: int = 4,
        num_rows: int = 12,
        num_tables: int = 0,
        categories: Sequence[str] = (),
        match: str = "exact",
        documents: str = Documents.COMPACT.value,
        max_observation: int = 1024,
        max_turns: int = 0,
        admissible: bool = False,
        expose_hidden_state: bool = True,
        seed: int = 0,
    ) -> None:
        """`server` to `test_share` are for `data`; `calls` to `match`, `admissible`,
        `expose_hidden_state` and `seed` are for the invented APIs. `match="f1"` rewards a list by
        its set F1; success is the whole set. `max_observation` of 0 cuts nothing."""
        self._rules = _make_rules(
            documents=documents,
            match=match,
            max_observation=max_observation,
            max_turns=max_turns,
            admissible=admissible,
            expose_hidden_state=expose_hidden_state,
        )
        self._judge: Judge | None = None
        self._queries: QueryBook | None = None
        if data:
            self._queries = QueryBook(Path(data), test_share=test_share)
            self._backend = make_backend(
                server=server, cache=cache, toolbench_key=toolbench_key, timeout_s=timeout_s
            )
            self._judge = make_judge(judge) if judge else None
        elif server or cache or judge:
            raise ValueError(
                "toolbench `server`, `cache` and `judge` are for StableToolBench's queries: set "
                "`data` to them as well"
            )
        else:
            self._problems = ProblemBook(
                ProblemSpec(
                    calls=list(calls),
                    num_distractors=num_distractors,
                    num_rows=num_rows,
                    num_tables=num_tables,
                    categories=list(categories),
                ),
                seed=seed,
            )
            self.expert = ChainExpert(self._problems)
            self.explorer = NoisyChainExpert(self._problems)

    @property
    def splits(self) -> Mapping[str, int | None]:
        return dict.fromkeys(SPLITS, None) if self._queries is None else self._queries.splits

    @property
    def judge_model(self) -> str:
        """The pinned name of the model that judges answers; empty without a judge."""
        return self._judge.model if self._judge else ""

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        book = self._problems if self._queries is None else self._queries
        return book.tasks(split=split, num=num, offset=offset)

    def fingerprint(self, task: Task) -> str:
        if self._queries is None:
            return self._problems.problem(task)[0].content_key()
        return self._queries.query(task).content_key()

    def make(self) -> Env:
        if self._queries is None:
            return ToolBenchEnv(self._problems, rules=self._rules)
        return OfficialEnv(
            self._queries, backend=self._backend, judge=self._judge, rules=self._rules
        )


def _make_rules(
    *,
    documents: str,
    match: str,
    max_observation: int,
    max_turns: int,
    admissible: bool,
    expose_hidden_state: bool,
) -> Rules:
    """Raises `ValueError` for what is no rule."""
    styles = [style.value for style in Documents]
    if documents not in styles:
        raise ValueError(f"toolbench documents must be one of {styles}, got {documents!r}")
    if match not in _MATCHES:
        raise ValueError(f"toolbench match must be one of {list(_MATCHES)}, got {match!r}")
    if max_turns < 0:
        raise ValueError(f"max_turns must be >= 0 (0 for no limit), got {max_turns}")
    if max_observation and max_observation < _MIN_OBSERVATION:
        raise ValueError(
            f"toolbench max_observation must be 0 or >= {_MIN_OBSERVATION}, got {max_observation}"
        )
    return Rules(
        documents=Documents(documents),
        grade_sets=match == "f1",
        max_observation=max_observation,
        max_turns=max_turns,
        admissible=admissible,
        expose_hidden_state=expose_hidden_state,
    )


__all__ = ["ToolBenchWorld"]
