"""An event loop in a thread of its own, for what must live on one loop while callers come and go.

vLLM's asynchronous engine belongs to the loop it was made on. Callers here have many: a crew runs
one per call, an actor has its own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class LoopThread:
    """Runs coroutines for other threads until it is closed.

    Example: `LoopThread(name="engine").run(some_coroutine())`
    """

    def __init__(self, *, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def submit(self, coroutine: Coroutine[Any, Any, _T]) -> Future[_T]:
        """Start it; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Wait for it, from any other thread."""
        return self.submit(coroutine).result()

    async def share(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Await it from the caller's own loop."""
        return await asyncio.wrap_future(self.submit(coroutine))

    def abandon(self) -> None:
        """End the thread when what it does now is done, without waiting for that."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        """Cancel what still runs and end the thread; calling it twice is fine."""
        if self._loop.is_closed():
            return
        self.run(_cancel_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
