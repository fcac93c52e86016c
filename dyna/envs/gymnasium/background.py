"""An event loop in a thread of its own, for callers that cannot wait on ours.

Gymnasium's calls are plain functions, and may be made where a loop runs already (a notebook). All
envs of a process share one loop: an engine that answers several dreams belongs to a single one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class BackgroundLoop:
    """Runs coroutines, each to its end, while the caller waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner = 0

    def run(self, coroutine: Coroutine[Any, Any, _T], *, timeout_s: float | None = None) -> _T:
        """The result. Raises `TimeoutError` after `timeout_s` (None: wait for ever), and whatever
        the coroutine raises; one that is given up is cancelled."""
        answer = asyncio.run_coroutine_threadsafe(coroutine, self._running())
        try:
            return answer.result(timeout_s)
        except BaseException:
            answer.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            # A forked child inherits the loop, but not the thread that turns it.
            if self._loop is None or self._owner != os.getpid():
                self._loop, self._owner = asyncio.new_event_loop(), os.getpid()
                threading.Thread(
                    target=self._loop.run_forever, name="dyna-gymnasium", daemon=True
                ).start()
            return self._loop


BACKGROUND = BackgroundLoop()
"""The loop of this process."""

__all__ = ["BACKGROUND", "BackgroundLoop"]
