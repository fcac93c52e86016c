"""StableToolBench's queries as tasks: recorded or virtual responses, answers judged by a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna.envs.episode import EpisodeClock
from dyna.envs.task_range import check_range, take
from dyna.envs.toolbench.backends import ResponseCache, VirtualServer
from dyna.envs.toolbench.calls import (
    ANSWERED,
    FINISH,
    GAVE_UP,
    Answer,
    cut,
    parse_call,
    read_finish,
    unknown,
    unparsable,
    write_call,
)
from dyna.envs.toolbench.episodes import Rules
from dyna.envs.toolbench.judge import Judge, Verdict
from dyna.envs.toolbench.queries import OfficialApi, Query, load_queries
from dyna.envs.toolbench.texts import Documents, opening
from dyna.seeding import derive_seed
from dyna.types import Action, Outcome, Start, Task

WORLD = "toolbench"
SPLITS = ("train", "test")
NOT_JUDGED = "no judge is configured: whether this solves the query is not known"
NOT_RECORDED = "No recorded response for this input"
_MAX_DESCRIPTION = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """Who answers: the cache first, then the server."""

    cache: ResponseCache | None
    server: VirtualServer | None

    def call(self, api: OfficialApi, *, arguments: Mapping[str, Any]) -> Answer:
        """Raises `ServerError` if the server fails."""
        reply = self.cache.find(api, arguments=arguments) if self.cache else None
        if reply is None and self.server is not None:
            reply = self.server.ask(api, arguments=arguments)
        if reply is None:
            return Answer(error=NOT_RECORDED, response="")
        return Answer(error=str(reply.get("error", "")), response=reply.get("response", ""))


def make_backend(*, server: str, cache: str, toolbench_key: str, timeout_s: float) -> Backend:
    """Raises `ValueError` if there is nobody to answer."""
    if not server and not cache:
        raise ValueError(
            "toolbench with `data` needs somebody to answer the calls: set `cache` to a folder of "
            "StableToolBench's tool_response_cache, or `server` to the address of its virtual "
            "server (http://host:port/virtual), or both; without `data` the world's own APIs answer"
        )
    if timeout_s <= 0:
        raise ValueError(f"toolbench timeout_s must be > 0, got {timeout_s}")
    return Backend(
        cache=ResponseCache(Path(cache)) if cache else None,
        server=VirtualServer(server, toolbench_key=toolbench_key, timeout_s=timeout_s)
        if server
        else None,
    )


class QueryBook:
    """The queries of a file by split: by the hash of their words, so equal ones stay together.

    `test_share` of them, in expectation, are `test`; 1 makes all of them that, as the benchmark
    has it. Raises `ValueError` for a share outside of [0, 1].
    """

    def __init__(self, path: Path, *, test_share: float) -> None:
        if not 0.0 <= test_share <= 1.0:
            raise ValueError(f"toolbench test_share must be in [0, 1], got {test_share}")
        self._queries = {query.key: query for query in load_queries(path)}
        self._splits: dict[str, list[Task]] = {split: [] for split in SPLITS}
        for query in self._queries.values():
            place = derive_seed(0, "split", query.content_key()) % 10_000
            split = "test" if place < test_share * 10_000 else "train"
            self._splits[split].append(_task(query, split=split))

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: len(tasks) for split, tasks in self._splits.items()}

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        check_range(split, num=num, offset=offset, splits=self._splits)
        remedy = "change `test_share` to move the border between the splits"
        return take(self._splits[split], split=split, num=num, offset=offset, remedy=remedy)

    def query(self, task: Task) -> Query:
        """Raises `ValueError` for a task of another world or file."""
        query = self._queries.get(str(task.params.get("query")))
        if task.world != WORLD or query is None or _task(query, split=task.split) != task:
            raise ValueError(f"task {task.id!r} is not of these queries; take tasks from `tasks`")
        return query

    def all(self) -> Sequence[Query]:
        return list(self._queries.values())


def _task(query: Query, *, split: str) -> Task:
    return Task(
        id=f"{WORLD}/{query.family}/{split}/{query.key.rpartition('/')[2]}-{query.content_key()}",
        world=WORLD,
        family=query.family,
        split=split,
        params={"query": query.key},
    )


class OfficialEnv:
    """One episode at a time of one query. A step may wait for a server or a judge."""

    def __init__(
        self, book: QueryBook, *, backend: Backend, judge: Judge | None, rules: Rules
    ) -> None:
        self._book = book
        self._backend = backend
        self._judge = judge
        self._rules = rules
        self._clock = EpisodeClock(max_turns=rules.max_turns)
        self._query: Query | None = None
        self._calls: list[tuple[str, str]] = []

    async def reset(self, task: Task) -> Start:
        query = self._query = self._book.query(task)
        self._calls = []
        self._clock.begin()
        documents = [describe(api, style=self._rules.documents) for api in query.apis]
        return Start(observation=opening(query.text, documents=documents))

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        if self._query is None:
            raise RuntimeError("this env is closed; call reset before step")
        call = parse_call(action.command)
        if call.name == FINISH:
            return self._finish(call.arguments, query=self._query)
        api = find_api(self._query.apis, name=call.name)
        if api is None:
            answer = unknown(call.name)
        elif call.arguments is None:
            answer = unparsable()
        else:
            answer = self._backend.call(api, arguments=call.arguments)
        text = cut(answer.text, length=self._rules.max_observation)
        if call.arguments is not None:
            self._calls.append((write_call(call.name, call.arguments), text))
        stop = self._clock.tick(terminated=False)
        return Outcome(observation=text, stop=stop, valid=not answer.error)

    async def close(self) -> None:
        self._query = None

    def _finish(self, arguments: Mapping[str, Any] | None, *, query: Query) -> Outcome:
        ending = read_finish(arguments)
        if ending.error:
            text = Answer(error=ending.error, response="").text
            return Outcome(observation=text, stop=self._clock.tick(terminated=False), valid=False)
        if ending.answer is None:
            return self._over(GAVE_UP)
        if self._judge is None:
            return self._over(_with(ANSWERED, judge=NOT_JUDGED))
        verdict = Verdict.UNSOLVED
        if ending.answer.strip():
            verdict = self._judge.judge(query=query.text, answer=ending.answer, calls=self._calls)
        said = {"model": self._judge.model, "verdict": verdict.value}
        return self._over(_with(ANSWERED, judge=said), verdict=verdict)

    def _over(self, observation: str, *, verdict: Verdict | None = None) -> Outcome:
        return Outcome(
            observation=observation,
            reward=verdict.score if verdict else 0.0,
            terminated=True,
            success=verdict is Verdict.SOLVED,
            stop=self._clock.tick(terminated=True),
            valid=True,
        )


def find_api(apis: Sequence[OfficialApi], *, name: str) -> OfficialApi | None:
    """The function of that name; ToolBench also takes the end of one, if it is not empty."""
    exact = [api for api in apis if api.function == name]
    ends = [api for api in apis if name and api.function.endswith(name)]
    return next(iter(exact or ends), None)


def describe(api: OfficialApi, *, style: Documents) -> str:
    if style is Documents.FULL:
        return json.dumps({"function": api.function, **api.record}, ensure_ascii=False)
    parameters = ", ".join([*api.required, *(f"{name}?" for name in api.optional)])
    head = f"{api.function}({parameters})"
    said = " ".join(str(api.record.get("api_description") or "").split())[:_MAX_DESCRIPTION]
    return head if style is Documents.NAMES or not said else f"{head}: {said}"


def _with(text: str, **more: Any) -> str:
    return json.dumps({**json.loads(text), **more}, ensure_ascii=False)


__all__ = [
    "NOT_JUDGED",
    "NOT_RECORDED",
    "Backend",
    "OfficialEnv",
    "QueryBook",
    "describe",
    "find_api",
    "make_backend",
]
