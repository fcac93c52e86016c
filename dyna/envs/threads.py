"""Runs a world that may block or hang in a thread of its own, so that time limits reach it.

The rollout's event loop waits for the answer and is free to give up. Nothing can stop a thread that
hangs: it is abandoned, counted and warned of, and the next episode gets a new one. It dies with the
process.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from dyna.protocols import Env
from dyna.types import Action, Outcome, Start, Task

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_GRACE_S = 0.2
"""How long a thread that was told to end may take before it counts as abandoned."""


class Abandoned:
    """Counts threads that were given up while they hung; each still holds its memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    @property
    def count(self) -> int:
        return self._count

    def add(self) -> int:
        with self._lock:
            self._count += 1
            return self._count


ABANDONED = Abandoned()
"""The count of this process."""


class ThreadedEnv:
    """An `Env` whose every call runs in one daemon thread with an event loop of its own.

    The env is made in that thread too, for worlds that may be used only by the thread that made
    them. When a call is cancelled, as a time limit does, the env is given up for good: later calls
    raise `RuntimeError`, and the thread ends when the call does, if it ever does.
    """

    def __init__(self, make: Callable[[], Env], *, abandoned: Abandoned = ABANDONED) -> None:
        self._make = make
        self._abandoned = abandoned
        self._env: Env | None = None
        self._given_up = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: Future[None] = Future()

    async def reset(self, task: Task) -> Start:
        return await self._call(lambda env: env.reset(task))

    async def step(self, action: Action) -> Outcome:
        return await self._call(lambda env: env.step(action))

    async def close(self) -> None:
        """Close the env and end its thread; a thread that does not end is counted."""
        loop = self._loop
        if loop is None or self._ended.done():
            return
        self._given_up = True
        closing = asyncio.run_coroutine_threadsafe(self._shut_down(loop), loop)
        try:
            await asyncio.wait({asyncio.wrap_future(self._ended)}, timeout=_GRACE_S)
        finally:
            if not self._ended.done():
                count = self._abandoned.add()
                # The 1st, 10th, 100th: a world that always hangs must not flood the log.
                level = logging.WARNING if str(count).rstrip("0") == "1" else logging.INFO
                _log.log(level, "a world hangs in its thread, abandoned (%d so far)", count)
        if closing.done() and not closing.cancelled() and (error := closing.exception()):
            raise error

    async def _call(self, use: Callable[[Env], Coroutine[Any, Any, _T]]) -> _T:
        if self._given_up:
            raise RuntimeError("this world was closed or hung and was given up; make a new one")
        loop = self._loop or self._start_thread()
        answer = asyncio.run_coroutine_threadsafe(self._in_thread(use), loop)
        try:
            return await asyncio.wrap_future(answer)
        except asyncio.CancelledError:
            self._given_up = True
            raise

    async def _in_thread(self, use: Callable[[Env], Coroutine[Any, Any, _T]]) -> _T:
        if self._env is None:
            self._env = self._make()
        return await use(self._env)

    async def _shut_down(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            if self._env is not None:
                await self._env.close()
        finally:
            loop.call_soon(loop.stop)

    def _start_thread(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()

        def run() -> None:
            try:
                loop.run_forever()
            finally:
                loop.close()
                self._ended.set_result(None)

        self._loop = loop
        threading.Thread(target=run, name="dyna-world", daemon=True).start()
        return loop


__all__ = ["ABANDONED", "Abandoned", "ThreadedEnv"]
