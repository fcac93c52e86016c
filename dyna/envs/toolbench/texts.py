"""What is shown: the question with the documents of its APIs, and the rows behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from dyna.envs.toolbench.calls import FINISH
from dyna.envs.toolbench.documents import Api, Parameter, schema_of
from dyna.envs.toolbench.problems import Problem
from dyna.envs.toolbench.tables import Tables

HOW_TO = 'Call one API per turn: name {"parameter": value}.'
HOW_TO_END = f'End with {FINISH} {{"return_type": "give_answer", "final_answer": "..."}}.'


class Documents(StrEnum):
    """How much of each API's document an episode begins with."""

    FULL = "full"
    """ToolBench's record, as JSON."""
    COMPACT = "compact"
    """One line: name, parameters, what it says."""
    NAMES = "names"
    """Name and parameters."""


def opening(query: str, *, documents: Iterable[str]) -> str:
    return "\n".join([f"Query: {query}", "APIs:", *documents, HOW_TO, HOW_TO_END])


def document(api: Api, *, style: Documents) -> str:
    if style is Documents.FULL:
        template = schema_of({output.field: "" for output in api.outputs if not output.pick})
        return json.dumps(api.record(template=template or None), ensure_ascii=False)
    head = f"{api.name}({signature(api.required, api.optional)})"
    return head if style is Documents.NAMES else f"{head}: {api.description}"


def signature(required: Sequence[Parameter], optional: Sequence[Parameter]) -> str:
    """Example: `origin, destination, limit?`"""
    return ", ".join([*(p.name for p in required), *(f"{p.name}?" for p in optional)])


def hidden_rows(apis: Iterable[Api], *, tables: Tables, entities: Iterable[Any]) -> str:
    """The rows that listed APIs find when asked for any of the entities, as far as they read them.

    One line per row, table first: `orders {'order': 'O-104', 'customer': 'Ada Lind'}`.
    """
    columns: dict[str, dict[str, None]] = {}
    keys: dict[str, set[str]] = {}
    for api in apis:
        for table, names in api.reads.items():
            columns.setdefault(table, {}).update(dict.fromkeys(names))
            keys.setdefault(table, set()).add(names[0])
    wanted = {str(entity) for entity in entities}
    lines: list[str] = []
    for table in sorted(columns):
        for row in tables[table]:
            if any(str(row[name]) in wanted for name in keys[table]):
                lines.append(f"{table} { {name: row[name] for name in columns[table]} }")
    return "\n".join(lines)


def hidden_state(problem: Problem, *, tables: Tables) -> str:
    """All that a model needs to answer the calls worth making, and to know the right ending."""
    entities: list[Any] = [v for step in problem.steps for v in step.constants.values()]
    entities += [value for value in problem.values if not isinstance(value, list)]
    rows = hidden_rows(problem.apis, tables=tables, entities=entities)
    return f"{rows}\nanswer {problem.answer}"


def known_values(problem: Problem) -> dict[str, list[Any]]:
    """What the question itself names, by kind."""
    found: dict[str, list[Any]] = {}
    for step in problem.steps:
        for parameter in step.api.required:
            if parameter.name in step.constants:
                add(found, kind=parameter.kind, value=step.constants[parameter.name])
    return found


def add(known: dict[str, list[Any]], *, kind: str, value: Any) -> None:
    if value not in known.setdefault(kind, []):
        known[kind].append(value)


def argument_sets(api: Api, *, known: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every way to fill the required parameters with known values of their kinds."""
    sets: list[dict[str, Any]] = [{}]
    for parameter in api.required:
        sets = [
            {**done, parameter.name: value}
            for done in sets
            for value in known.get(parameter.kind, ())
            if value not in done.values()
        ]
    return sets


__all__ = [
    "Documents",
    "add",
    "argument_sets",
    "document",
    "hidden_rows",
    "hidden_state",
    "known_values",
    "opening",
    "signature",
]
