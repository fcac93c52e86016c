"""The clock of one episode: how many turns it has had, and whether it is over."""

from __future__ import annotations

from dyna.types import StopReason


class EpisodeClock:
    """Example: `clock = EpisodeClock(max_turns=20)`; `begin` at reset, `check` before a step,
    `tick` after it.

    `max_turns` of 0 means that the world has no limit of its own. Raises `ValueError` below 0.
    """

    def __init__(self, *, max_turns: int) -> None:
        if max_turns < 0:
            raise ValueError(f"max_turns must be >= 0 (0 for no limit), got {max_turns}")
        self._max_turns = max_turns
        self._num_turns = 0
        self._running = False

    @property
    def num_turns(self) -> int:
        return self._num_turns

    def begin(self) -> None:
        self._num_turns, self._running = 0, True

    def check(self) -> None:
        """Raise `RuntimeError` if there is no episode in which a step could be taken."""
        if not self._running:
            raise RuntimeError("this episode is over or never began; call reset before step")

    def tick(self, *, terminated: bool) -> StopReason | None:
        """Count one turn; why the episode ends with it, if it does."""
        self._num_turns += 1
        stop = StopReason.TERMINATED if terminated else None
        if stop is None and self._max_turns and self._num_turns >= self._max_turns:
            stop = StopReason.STEP_LIMIT
        self._running = stop is None
        return stop

    def copy(self) -> EpisodeClock:
        """A clock at the same time, for a cloned env."""
        other = EpisodeClock(max_turns=self._max_turns)
        other._num_turns, other._running = self._num_turns, self._running
        return other


__all__ = ["EpisodeClock"]
