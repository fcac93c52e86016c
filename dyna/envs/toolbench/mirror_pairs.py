"""Pairs of a request and its response, with the API's document as MirrorAPI is shown it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from dyna.envs.toolbench.backends import ResponseCache, read_input
from dyna.envs.toolbench.calls import Answer, execute, parse_arguments, unparsable
from dyna.envs.toolbench.catalog import SOURCES, in_categories
from dyna.envs.toolbench.documents import Api
from dyna.envs.toolbench.problems import SPLITS as _HUNDREDTHS
from dyna.envs.toolbench.queries import OfficialApi, load_queries
from dyna.envs.toolbench.tables import Tables

WORLD = "toolbench_mirror"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    category: str
    document: str
    """JSON in MirrorAPI's fields."""
    request: str
    answer: Answer
    api: Api | None
    """The invented API that answers other requests too; None for a recorded pair."""

    def content_key(self) -> str:
        content = json.dumps([self.document, self.request, self.answer.text])
        return blake2b(content.encode(), digest_size=8).hexdigest()


def split_of(pair: Pair) -> str:
    """The split that a pair belongs to by its content: 70, 15 and 15 of a hundred."""
    place = int(pair.content_key(), 16) % 100
    if place in _HUNDREDTHS["train"]:
        return "train"
    return "valid" if place < 85 else "test"


def draw_pair(
    seed: int, *, tables: Tables, invalid_share: float, categories: Sequence[str]
) -> Pair:
    """The pair of one seed, over some tables."""
    rng = random.Random(seed)
    api = rng.choice(list(in_categories(categories).values()))
    arguments = {p.name: _value(rng, kind=p.kind, tables=tables) for p in api.required}
    for parameter in api.optional:
        if rng.random() < 0.3:
            arguments[parameter.name] = rng.randrange(1, 6)
    request = json.dumps(arguments, ensure_ascii=False)
    if rng.random() < invalid_share:
        request = _spoil(rng, arguments=arguments)
    given = parse_arguments(request)
    return Pair(
        category=api.category,
        document=_document(api.record(), name=api.name, tool=api.tool, category=api.category),
        request=request,
        answer=unparsable() if given is None else execute(api, arguments=given, tables=tables),
        api=api,
    )


def recorded_pairs(path: Path, *, cache: ResponseCache) -> Iterator[Pair]:
    """Every recorded response of the APIs that the queries list, API by API."""
    apis: dict[tuple[str, str, str], OfficialApi] = {}
    for query in load_queries(path):
        for api in query.apis:
            apis.setdefault((api.category, api.tool, api.name), api)
    for api in apis.values():
        document = _document(api.record, name=api.name, tool=api.tool, category=api.category)
        for file in cache.paths(api):
            for key, response in cache.recorded(file).items():
                arguments = None if key.startswith("\x00") else read_input(key)
                if arguments is None or not isinstance(response, dict):
                    continue
                said = cast("dict[str, Any]", response)
                yield Pair(
                    category=api.category,
                    document=document,
                    request=json.dumps(arguments, ensure_ascii=False, default=str),
                    answer=Answer(
                        error=str(said.get("error", "")), response=said.get("response", "")
                    ),
                    api=None,
                )


def _document(record: Mapping[str, Any], *, name: str, tool: str, category: str) -> str:
    return json.dumps(
        {
            "api_name": name,
            "api_description": record.get("api_description", ""),
            "required_parameters": record.get("required_parameters", []),
            "optional_parameters": record.get("optional_parameters", []),
            "tool_name": tool,
            "tool_category": category,
        },
        ensure_ascii=False,
    )


def _value(rng: random.Random, *, kind: str, tables: Tables) -> Any:
    table, column = SOURCES[kind]
    return rng.choice(tables[table])[column]


def _spoil(rng: random.Random, *, arguments: Mapping[str, Any]) -> str:
    """A request that errs in one of ToolBench's ways."""
    way = rng.randrange(5)
    changed = dict(arguments)
    first = next(iter(changed))
    if way == 0:
        del changed[first]
    elif way == 1:
        changed[rng.choice(("query", "id", "format", "lang"))] = "x"
    elif way == 2:
        changed[first] = f"{changed[first]}x"
    elif way == 3:
        changed[first] = [changed[first]]
    text = json.dumps(changed, ensure_ascii=False)
    return text[:-1] if way == 4 else text


__all__ = ["SPLITS", "WORLD", "Pair", "draw_pair", "recorded_pairs", "split_of"]
