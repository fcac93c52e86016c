"""Is it the answer? Texts are compared without case and blanks, numbers by value, lists as sets."""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

_NUMBER = re.compile(r"[-+]?\d{1,15}(?:\.\d{1,15})?\Z")


def is_right(answer: str, *, truth: Any) -> bool:
    """Whether an answer is the truth: the same text, number, or set of list items."""
    if isinstance(truth, list):
        return items(answer) == {_normal(item) for item in cast("list[Any]", truth)}
    return _normal(answer) == _normal(truth)


def set_f1(answer: str, *, truth: Any) -> float:
    """F1 of the items of an answer against those of the truth, as sets; 0 or 1 for a scalar."""
    if not isinstance(truth, list):
        return float(is_right(answer, truth=truth))
    given, wanted = items(answer), {_normal(item) for item in cast("list[Any]", truth)}
    return 2 * len(given & wanted) / (len(given) + len(wanted))


def items(answer: str) -> set[str]:
    """The items of an answer: a JSON list, or words between commas."""
    text = answer.strip()
    if text.startswith("["):
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, list):
            return {_normal(item) for item in cast("list[Any]", value)}
        text = text.strip("[]")
    return {_normal(part) for part in text.split(",") if part.strip()}


def _normal(value: Any) -> str:
    text = " ".join(str(value).split()).casefold().strip("\"'").removesuffix(".")
    if _NUMBER.match(text):
        number = float(text)
        return f"{number:.6f}".rstrip("0").rstrip(".") if math.isfinite(number) else text
    return text


__all__ = ["is_right", "items", "set_f1"]
