"""One session with an OpenEnv server, by the protocol's own client, in a thread of its own.

The client of OpenEnv 0.2 waits; the one of 0.3 is asynchronous and offers one that waits. Either
way a session's calls run in its one thread, so that the event loop is free and may give up.
"""
# pyright: reportMissingImports=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import inspect
import math
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")
_CODE = re.compile(r"\(code: (\w+)\)\s*$")
_RETRY_S = 0.2


class RefusedActionError(ValueError):
    """The server did not take the action for one of its own; the episode goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    observation: Mapping[str, Any]
    reward: float
    done: bool


def load_client() -> Any:
    """The class of the protocol's client; the first call takes seconds to import it."""
    from openenv.core.generic_client import GenericEnvClient

    return GenericEnvClient


def check_limits(limits: Mapping[str, float]) -> Mapping[str, float]:
    """The time limits of a session by name. Raises `ValueError` for one that is not above 0."""
    for name, seconds in limits.items():
        if not 0 < seconds < math.inf:
            raise ValueError(f"{name} must be above 0 and finite, got {seconds}")
    return limits


class Session:
    """Plain calls, and the same as coroutines. Connects when first used, and after a failure.

    `reset` waits up to `connect_timeout_s` for a server that has no session free.
    """

    def __init__(self, url: str, *, connect_timeout_s: float, message_timeout_s: float) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s
        self._message_timeout_s = message_timeout_s
        self._client: Any = None
        self._thread: ThreadPoolExecutor | None = None

    async def reset_async(self, request: Mapping[str, Any]) -> Answer:
        return await self._in_thread(lambda: self.reset(request))

    async def step_async(self, action: Mapping[str, Any]) -> Answer:
        return await self._in_thread(lambda: self.step(action))

    async def close_async(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        # Not waited for: a server that hangs takes seconds to let go of.
        thread.submit(self.close)
        thread.shutdown(wait=False)

    def reset(self, request: Mapping[str, Any]) -> Answer:
        """Raises `ConnectionError` (gone, or no session free), `TimeoutError` (hangs), and
        `RuntimeError` for an error of the environment itself."""
        deadline = time.monotonic() + self._connect_timeout_s
        was_open = self._client is not None
        while True:
            try:
                return self._answer(lambda client: client.reset(**request), doing="reset")
            except _FullError as error:
                if time.monotonic() >= deadline:
                    raise ConnectionError(
                        f"the OpenEnv server at {self._url} has no session free ({error}); raise "
                        "its number of sessions, or play fewer episodes at once"
                    ) from None
                time.sleep(_RETRY_S)
            except ConnectionError:
                # A session that was left open may have died since; a new one has no excuse.
                if not was_open:
                    raise
                was_open = False

    def step(self, action: Mapping[str, Any]) -> Answer:
        """Raises `RefusedActionError`, and as `reset` does."""
        if self._client is None:
            raise ConnectionError(f"the session with {self._url} is over; reset opens another")
        return self._answer(lambda client: client.step(dict(action)), doing="step")

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _answer(self, call: Callable[[Any], Any], *, doing: str) -> Answer:
        try:
            client = self._client = self._client or self._connect()
            result = call(client)
        except TimeoutError:
            self._drop()
            raise TimeoutError(
                f"the OpenEnv server at {self._url} did not answer a {doing} within "
                f"{self._message_timeout_s:g} s"
            ) from None
        except Exception as error:
            raise self._translated(error, doing=doing) from error
        return Answer(
            observation=result.observation if isinstance(result.observation, Mapping) else {},
            reward=_number(result.reward),
            done=bool(result.done),
        )

    def _translated(self, error: Exception, *, doing: str) -> Exception:
        """What the client's error means for the episode. The session is dropped with it, except
        where the server says that it has merely refused an action."""
        from websockets.exceptions import ConnectionClosedOK

        found = _CODE.search(str(error)) if isinstance(error, RuntimeError) else None
        code = found[1] if found else ""
        if code == "VALIDATION_ERROR" and doing == "step":
            return RefusedActionError("The environment does not understand that.")
        self._drop()
        # A full server says so and closes at once; its words may be lost with the connection.
        if code == "CAPACITY_REACHED" or (
            doing == "reset" and isinstance(error, ConnectionClosedOK)
        ):
            return _FullError(str(error))
        if code:
            return RuntimeError(f"the OpenEnv server at {self._url} failed in a {doing}: {error}")
        return ConnectionError(
            f"the OpenEnv server at {self._url} is gone, in a {doing}: {error or repr(error)}"
        )

    def _connect(self) -> Any:
        kind = load_client()
        client: Any = kind(
            base_url=self._url,
            connect_timeout_s=self._connect_timeout_s,
            message_timeout_s=self._message_timeout_s,
        )
        if inspect.iscoroutinefunction(kind.reset):
            client = client.sync()
        client.connect()
        return client

    def _drop(self) -> None:
        """Forget the client; what is left of its connection is closed in the background."""
        client, self._client = self._client, None
        if client is not None:
            closing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="openenv-close")
            closing.submit(client.close)
            closing.shutdown(wait=False)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="openenv")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except asyncio.CancelledError:
            # Closing the connection ends the call that waits on it.
            self._drop()
            raise


class _FullError(ConnectionError):
    """All sessions of the server are taken."""


def _number(reward: Any) -> float:
    """OpenEnv's rewards may be absent, bools, or not numbers at all."""
    number = float(reward) if isinstance(reward, int | float) else 0.0
    return number if math.isfinite(number) else 0.0


__all__ = ["Answer", "RefusedActionError", "Session", "check_limits", "load_client"]
