"""What the player of a world and its process say to each other, as lines of JSON.

Nouns of `dyna.types` go as their fields. Numbers that are not finite and characters that no UTF-8
holds come through; what is no noun at all is refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

from dyna.types import Action, Outcome, Start, StopReason, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Make:
    """The first request: which world to play."""

    name: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The answer to it."""

    process_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Close:
    """The last request: close the env and the world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """The answer when the world raised an exception."""

    error: str


Request: TypeAlias = Make | Task | Action | Close
"""A task resets, an action steps."""
Answer: TypeAlias = Made | Start | Outcome | Close | Broken

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Make, Made, Task, Start, Action, Outcome, Close, Broken)
}
_LISTS = {"admissible", "token_ids", "log_probs"}
"""Fields that are tuples."""


def pack(message: Request | Answer) -> bytes:
    """One line. Raises `TypeError` for what is no message, or holds what JSON cannot."""
    kind = type(message).__name__
    if kind not in _KINDS:
        raise TypeError(f"a world answers with a Start or an Outcome, got {kind}")
    values = {field.name: getattr(message, field.name) for field in fields(message)}
    return json.dumps([kind, values]).encode("ascii") + b"\n"


def unpack(line: bytes) -> Any:
    """The message of a line that `pack` wrote."""
    kind: str
    values: dict[str, Any]
    kind, values = json.loads(line)
    for name in _LISTS & values.keys():
        if values[name] is not None:
            values[name] = tuple(values[name])
    if values.get("stop") is not None:
        values["stop"] = StopReason(values["stop"])
    return _KINDS[kind](**values)


__all__ = ["Answer", "Broken", "Close", "Made", "Make", "Request", "pack", "unpack"]
