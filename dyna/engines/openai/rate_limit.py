"""No more requests or tokens in any minute than the server allows, first come, first served."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_WINDOW_S = 60.0


@dataclass(slots=True, kw_only=True)
class Admission:
    """A request that was let through; `tokens` may be put right when they are known."""

    at: float
    tokens: int


class RateLimit:
    """Belongs to one event loop.

    A request that alone has more tokens than a minute allows goes when nothing else is counted.
    """

    def __init__(
        self,
        *,
        requests: int = 0,
        tokens: int = 0,
        window_s: float = _WINDOW_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._requests = requests
        self._tokens = tokens
        self._window_s = window_s
        self._clock = clock
        self._admitted: deque[Admission] = deque()
        self._held_until = 0.0
        self._turn = asyncio.Lock()

    async def admit(self, tokens: int) -> Admission:
        """Wait until the request may be sent."""
        async with self._turn:
            while (wait := self._wait(tokens)) > 0:
                await asyncio.sleep(wait)
            admission = Admission(at=self._clock(), tokens=tokens)
            if self._requests or self._tokens:
                self._admitted.append(admission)
            return admission

    def hold(self, seconds: float) -> None:
        """Send nothing for so long: the server said so to one of us, and means us all."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def _wait(self, tokens: int) -> float:
        now = self._clock()
        if now < self._held_until:
            return self._held_until - now
        while self._admitted and self._admitted[0].at + self._window_s <= now:
            self._admitted.popleft()
        if not self._admitted:
            return 0.0
        full = 0 < self._requests <= len(self._admitted)
        heavy = 0 < self._tokens < tokens + sum(entry.tokens for entry in self._admitted)
        return self._admitted[0].at + self._window_s - now if full or heavy else 0.0
