"""What is asked of `World.tasks`, checked in one way for all worlds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def check_range(split: str, *, num: int, offset: int, splits: Iterable[str]) -> None:
    """Raise `ValueError` for a split that is not there, and for negative numbers."""
    names = list(splits)
    if split not in names:
        raise ValueError(f"split must be one of {names}, got {split!r}")
    if num < 0 or offset < 0:
        raise ValueError(f"num and offset must be >= 0, got num={num}, offset={offset}")


def check_size(split: str, *, num: int, offset: int, size: int, remedy: str = "") -> None:
    """Raise `ValueError`, with the remedy if there is one, where a split has too few tasks."""
    if offset + num > size:
        hint = f"; {remedy}" if remedy else ""
        raise ValueError(
            f"split {split!r} has only {size} tasks, {offset + num} were asked for{hint}"
        )


def take(
    of_split: Sequence[_T], *, split: str, num: int, offset: int, remedy: str = ""
) -> Sequence[_T]:
    """`num` of a split's tasks from `offset` on. Raises `ValueError` as `check_size` does."""
    check_size(split, num=num, offset=offset, size=len(of_split), remedy=remedy)
    return of_split[offset : offset + num]


__all__ = ["check_range", "check_size", "take"]
