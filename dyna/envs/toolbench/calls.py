"""Calls: what a command asks for, and what the world of APIs answers, errors and all.

The canonical form of a call is one line, the API's name and a JSON object, which is ToolBench's
`Action` and `Action Input` side by side:

    track_parcel {"tracking": "T-104"}
    Finish {"return_type": "give_answer", "final_answer": "Oslo"}

Also read: ToolBench's own two lines (`Action: name`, `Action Input: {...}`), `name({...})`, and
`{"name": ..., "arguments": {...}}`. The classes of errors and their short wordings are those of
ToolBench and StableToolBench (OpenBMB, THUNLP-MT; Apache-2.0), so that a model meets the same here.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from dyna.envs.toolbench.documents import Api, RefusedError
from dyna.envs.toolbench.tables import Tables

FINISH = "Finish"
GIVE_ANSWER = "give_answer"
GIVE_UP = "give_up_and_restart"
ANSWERED = '{"response": "successfully giving the final answer."}'
GAVE_UP = '{"response": "chose to give up and restart"}'
MAX_COMMAND = 20_000
"""Characters of a command that are read; a longer one is not parsed at all."""
_MAX_DEPTH = 40
_ECHO = 60
_MAX_NAME = 200

_ACTION = re.compile(r"^[ \t]*Action[ \t]*:[ \t]*(.*)$", re.MULTILINE)
_INPUT = re.compile(r"^[ \t]*Action Input[ \t]*:[ \t]*", re.MULTILINE)
_ONE_LINE = re.compile(r"([^\s({\"\[]+)\s*(\(?)\s*(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Example: `Call(name="weekday", arguments={"date": "2031-02-03"})`; `arguments` is None where
    the input was no JSON object."""

    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an API says: `error` is empty if all went well."""

    error: str
    response: Any

    @property
    def text(self) -> str:
        """As ToolBench's server writes it: the response is Python's text of a value."""
        said = self.response if isinstance(self.response, str) else str(self.response)
        return _clean(json.dumps({"error": self.error, "response": said}, ensure_ascii=False))


def _clean(text: str) -> str:
    """Without halves of characters, which a call may hold and no file can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def write_call(name: str, arguments: Mapping[str, Any]) -> str:
    """The canonical form."""
    return f"{name} {json.dumps(arguments, ensure_ascii=False)}"


def finish(answer: Any) -> str:
    """The canonical call that ends an episode with an answer. A list is written as JSON."""
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return write_call(FINISH, {"return_type": GIVE_ANSWER, "final_answer": text})


def parse_call(command: str) -> Call:
    """The call in a command. Total: any text is some call, if only of an API that is not there."""
    if len(command) > MAX_COMMAND:
        return Call(name=command[:_MAX_NAME].strip(), arguments=None)
    text = command.strip()
    marked = _INPUT.search(text)
    actions = _ACTION.findall(text[: marked.start()] if marked else text)
    if actions and marked:
        given = text[marked.end() :].partition("\nEnd Action")[0]
        return Call(name=actions[-1].strip()[:_MAX_NAME], arguments=parse_arguments(given))
    if actions:
        text = actions[-1].strip()
    whole = _object(text)
    if whole is not None and isinstance(whole.get("name"), str):
        inner = whole.get("arguments", whole.get("parameters", {}))
        given = inner if isinstance(inner, str) else json.dumps(inner)
        return Call(name=whole["name"][:_MAX_NAME], arguments=parse_arguments(given))
    match = _ONE_LINE.match(text)
    if match is None:
        return Call(name=text[:_MAX_NAME], arguments=None)
    name, bracket, given = match.groups()
    if bracket and given.endswith(")"):
        given = given[:-1]
    return Call(name=name[:_MAX_NAME], arguments=parse_arguments(given))


def parse_arguments(text: str) -> dict[str, Any] | None:
    """A JSON object of arguments; `{}` for blanks, as ToolBench has it; None for anything else."""
    return _object(text) if text.strip() else {}


def _object(text: str) -> dict[str, Any] | None:
    # A bracket count bounds the depth: the parser itself goes as deep as the text says.
    if text.count("{") + text.count("[") > 8 * _MAX_DEPTH:
        return None
    try:
        value: Any = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def read_response(observation: str) -> Any:
    """The value in an observation; None where there is none, or where it was cut."""
    if len(observation) > MAX_COMMAND:
        return None
    said = _object(observation)
    if said is None or said.get("error") != "" or not isinstance(said.get("response"), str):
        return None
    try:
        return ast.literal_eval(said["response"])
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None


def unknown(name: str) -> Answer:
    return Answer(error=f"No such function name: {name[:_ECHO]}", response="")


def unparsable() -> Answer:
    return Answer(error="Tool input parse error...\n", response="")


def execute(api: Api, *, arguments: Mapping[str, Any] | None, tables: Tables) -> Answer:
    """What an API answers. Never raises for anything that a call may hold."""
    if arguments is None:
        return unparsable()
    if problem := _misfit(api, arguments=arguments):
        place = f"toolenv.tools.{api.category}.{api.tool}.api import {api.name}"
        return Answer(
            error=f"Function executing from {place} error...\n{api.name}() {problem}", response=""
        )
    if problem := _wrong_value(api, arguments=arguments):
        return _message(problem)
    try:
        return Answer(error="", response=api.run(tables, arguments))
    except RefusedError as error:
        return _message(str(error))


def _message(text: str) -> Answer:
    return Answer(error="Message error...", response={"message": text})


def _misfit(api: Api, *, arguments: Mapping[str, Any]) -> str:
    """Python's own words for a call with the wrong keywords; empty if they are right."""
    known = {parameter.name for parameter in api.parameters}
    for name in arguments:
        if name not in known:
            return f"got an unexpected keyword argument '{name[:_ECHO]}'"
    missing = [repr(p.name) for p in api.required if p.name not in arguments]
    if not missing:
        return ""
    plural = "s" if len(missing) > 1 else ""
    return f"missing {len(missing)} required positional argument{plural}: {' and '.join(missing)}"


def _wrong_value(api: Api, *, arguments: Mapping[str, Any]) -> str:
    for parameter in api.parameters:
        value = arguments.get(parameter.name, "")
        if parameter.name not in arguments:
            continue
        if parameter.type == "NUMBER":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not abs(value) <= 1e12:  # nor NaN
                return f"{parameter.name} must be a number"
        elif not isinstance(value, str | int | float):
            return f"{parameter.name} must be a string"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a call of `Finish` comes to: `answer` is None for giving up, or where it is no answer,
    in which case `error` says why and the episode goes on."""

    answer: str | None = None
    error: str = ""


def read_finish(arguments: Mapping[str, Any] | None) -> Ending:
    given = arguments or {}
    kind = given.get("return_type")
    if kind is None:
        return Ending(error='must have "return_type"')
    if kind == GIVE_UP:
        return Ending()
    if kind != GIVE_ANSWER:
        return Ending(error='"return_type" is not a valid choice')
    if "final_answer" not in given:
        return Ending(error='must have "final_answer"')
    answer = given["final_answer"]
    return Ending(answer=answer if isinstance(answer, str) else json.dumps(answer))


def cut(text: str, *, length: int) -> str:
    """As ToolBench cuts an observation that is too long; a `length` of 0 keeps all."""
    return text if not length or len(text) <= length else text[:length] + "..."


__all__ = [
    "ANSWERED",
    "FINISH",
    "GAVE_UP",
    "GIVE_ANSWER",
    "GIVE_UP",
    "MAX_COMMAND",
    "Answer",
    "Call",
    "Ending",
    "cut",
    "execute",
    "finish",
    "parse_arguments",
    "parse_call",
    "read_finish",
    "read_response",
    "unknown",
    "unparsable",
    "write_call",
]
