"""The nearest valid name, for errors that say what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, valid: Iterable[str], *, prefix: str = "") -> str:
    """`; did you mean ...?` to append to an error; empty when nothing is near.

    Example: `did_you_mean("horizn", ["horizon"])` is "; did you mean `horizon`?"
    """
    by_lower = {candidate.lower(): candidate for candidate in valid}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean `{prefix}{by_lower[near[0]]}`?" if near else ""
