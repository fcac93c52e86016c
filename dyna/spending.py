"""What calls of a model server cost: tokens and money, counted where they are spent.

There is one meter in each process, as there is one bill: every client enters its calls there, and
whoever keeps the books takes the counts away. Rollout actors send theirs home with their episodes.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass


class SpendLimitError(RuntimeError):
    """The run may not spend more; it ends here, with what was done kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sums over calls.

    Example: 1000 prompt and 50 completion tokens at 2.5 and 10 a million cost 0.003.
    """

    calls: int = 0
    """Requests sent, repeated ones too."""
    failed_calls: int = 0
    """Of them, those without an answer that could be used."""
    prompt_tokens: int = 0
    """As the server reports them, also for failed calls where it does."""
    completion_tokens: int = 0
    cost: float = 0.0
    """In the currency of the configured prices."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            calls=self.calls + other.calls,
            failed_calls=self.failed_calls + other.failed_calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cost=self.cost + other.cost,
        )


class Meter:
    """Counts calls and refuses those that may go beyond the limit. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._untaken = Usage()
        self._spent = 0.0
        self._reserved = 0.0
        self._limit = 0.0

    def open(self, *, limit: float) -> None:
        """Begin a run that may spend `limit` in this process; 0 means any amount."""
        with self._lock:
            self._untaken, self._spent, self._limit = Usage(), 0.0, limit

    def begin_at(self, spent: float) -> None:
        """The run, resumed, has spent this much already."""
        with self._lock:
            self._spent = spent

    @contextmanager
    def reserve(self, cost: float) -> Generator[None]:
        """Hold back the most that a call may cost while it is under way.

        Raises `SpendLimitError` when that might be more than is left.
        """
        with self._lock:
            if self._limit and self._spent + self._reserved + cost > self._limit:
                raise SpendLimitError(
                    f"max_spend={self._limit:g} would not cover another call: {self._spent:.6g} "
                    f"is spent here, calls under way may cost {self._reserved:.6g}, this one "
                    f"{cost:.6g}; raise max_spend and resume"
                )
            self._reserved += cost
        try:
            yield
        finally:
            with self._lock:
                self._reserved -= cost

    def add(self, usage: Usage) -> None:
        with self._lock:
            self._untaken += usage
            self._spent += usage.cost

    def take(self) -> Usage:
        """What was counted since the last time."""
        with self._lock:
            taken, self._untaken = self._untaken, Usage()
        return taken


METER = Meter()
"""Of this process."""
