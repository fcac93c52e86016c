"""What the checks are written with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def require(condition: bool, message: str) -> None:
    """Raise `AssertionError` unless the condition holds, under `python -O` too."""
    if not condition:
        raise AssertionError(message)


def must_refuse(call: Callable[[], object], message: str) -> None:
    """Raise `AssertionError` unless the call raises `ValueError`."""
    try:
        call()
    except ValueError:
        return
    raise AssertionError(message)


def is_a(value: object, kind: Any) -> bool:
    """`isinstance` for values that a user's code may have got wrong in spite of their types."""
    return isinstance(value, kind)


def name_of(value: object) -> str:
    return type(value).__name__


__all__ = ["is_a", "must_refuse", "name_of", "require"]
