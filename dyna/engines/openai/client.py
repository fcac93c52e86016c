"""One server behind the `openai` client: calls with retries, rate limits, and their cost counted.

The calls run on a thread of their own, for callers come from several event loops, one after the
other and at once; so connections, limits and waits are one server's, whoever asks. The client's
own retries are off: a repetition passes the rate limit like any other call, is counted like one,
and a server that says how long to wait is obeyed by all calls, not only by the one it said it to.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
import weakref
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from dyna.configuring import ConfigError
from dyna.engines.openai.answers import as_list, as_object
from dyna.engines.openai.rate_limit import RateLimit
from dyna.engines.openai.settings import ServerSettings
from dyna.nearest import did_you_mean
from dyna.rendering import ContextOverflow
from dyna.spending import METER, Meter, Usage

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_CHECK_TIMEOUT_S = 10.0
_CLOSE_S = 5.0
_PASSING = (408, 409, 429)
_TOO_LONG = ("context_length_exceeded", "maximum context length", "maximum model length")
"""How servers say that a prompt does not fit."""

Call: TypeAlias = Literal["completion", "chat"]


class ServerError(RuntimeError):
    """The server gave no answer that can be used."""

    def __init__(self, message: str, *, is_passing: bool) -> None:
        super().__init__(message)
        self.is_passing = is_passing
        """Whether the same call may succeed at another time; it was repeated in vain."""


class _Retry(Exception):
    """This attempt came to nothing; another one may not."""

    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        """What the server asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What the client needs that belongs to its thread's event loop."""

    client: AsyncOpenAI
    gate: asyncio.Semaphore
    rate: RateLimit


class ServerClient:
    """Calls of one server; use it from any thread and event loop."""

    def __init__(self, settings: ServerSettings, *, meter: Meter = METER) -> None:
        """Raises `ConfigError` when the environment has no key."""
        self.settings = settings
        self._key = settings.read_key()
        self._meter = meter
        self._jitter = random.Random()  # Unseeded: workers of one run must not wait alike.
        self._loop = asyncio.new_event_loop()
        self._parts: list[_Part] = []
        self._thread = threading.Thread(
            target=_serve, args=(self._loop, self._parts), name="openai", daemon=True
        )
        self._thread.start()
        self._end = weakref.finalize(self, _end, self._loop)

    def close(self) -> None:
        """End the thread and its connections; calling it twice is fine."""
        self._end()
        self._thread.join(_CLOSE_S)

    def check(self) -> None:
        """Raise `ConfigError` unless the server is there, takes the key and serves the model."""
        import openai

        settings = self.settings
        where = f"server.base_url={settings.base_url!r}"
        with openai.OpenAI(
            api_key=self._key,
            base_url=settings.base_url,
            timeout=_CHECK_TIMEOUT_S,
            max_retries=0,
        ) as client:
            try:
                response = client.models.with_raw_response.list().http_response
            except openai.APIConnectionError as error:
                raise ConfigError(
                    f"{where}: nobody answers ({_first_line(error.__cause__ or error)}); start the "
                    "server, or name the right host and port"
                ) from error
            except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
                raise ConfigError(
                    f"{where} refuses the key in server.api_key_env={settings.api_key_env!r} "
                    f"(status {error.status_code})"
                ) from error
            except openai.APIStatusError as error:
                _log.info("%s does not list its models (status %d)", where, error.status_code)
                return
        served = _model_names(response.text)
        if served and settings.model_name not in served:
            hint = did_you_mean(settings.model_name, served) or f"; it serves {served[:5]}"
            raise ConfigError(
                f"server.model_name={settings.model_name!r} is not served at {where}{hint}"
            )

    async def send(
        self, call: Call, body: Mapping[str, Any], *, num_prompt_tokens: int, max_tokens: int
    ) -> dict[str, Any]:
        """The server's answer to `body`, as JSON with at least one entry in `choices`.

        `num_prompt_tokens` may be a guess; it is what the limits count until the server has told.
        Raises `ServerError`, `ContextOverflow` when the prompt is too long for the server's model,
        and `SpendLimitError` for a call that may cost more than is left.
        """
        if not self._end.alive:
            raise RuntimeError("the client of the server is closed")
        work = self._send(call, body, num_prompt_tokens=num_prompt_tokens, max_tokens=max_tokens)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What `work` returns, from a thread without an event loop or from within any other."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _send(
        self, call: Call, body: Mapping[str, Any], *, num_prompt_tokens: int, max_tokens: int
    ) -> dict[str, Any]:
        settings, part = self.settings, self._make_part()
        dearest = settings.cost(prompt_tokens=num_prompt_tokens, completion_tokens=max_tokens)
        last = _Retry("none was sent")
        for attempt in range(settings.max_retries + 1):
            async with part.gate:
                admission = await part.rate.admit(num_prompt_tokens + max_tokens)
                with self._meter.reserve(dearest):
                    try:
                        usage, answer = await self._attempt(part.client, call=call, body=body)
                        admission.tokens = usage.prompt_tokens + usage.completion_tokens
                        return answer
                    except _Retry as failure:
                        last = failure
            wait = self._wait(attempt, failure=last)
            _log.info("%s: %s; trying again in %.1f s", settings.base_url, last, wait)
            if last.wait_s is not None:
                part.rate.hold(last.wait_s)
            if attempt < settings.max_retries:
                await asyncio.sleep(wait)
        raise ServerError(
            f"{settings.base_url} gave no answer in {settings.max_retries + 1} attempts; the "
            f"last: {last}",
            is_passing=True,
        )

    async def _attempt(
        self, client: AsyncOpenAI, *, call: Call, body: Mapping[str, Any]
    ) -> tuple[Usage, dict[str, Any]]:
        """Send once, and enter what it cost whatever came back."""
        import openai

        answer: dict[str, Any] = {}
        is_good = False
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                text = await _post(client, call=call, body=body)
            answer = _read(text)
            _check(answer)
            is_good = True
        except TimeoutError as error:
            raise _Retry(f"no answer in {self.settings.timeout_s:g} s") from error
        except openai.APIConnectionError as error:
            raise _Retry(f"no connection ({_first_line(error.__cause__ or error)})") from error
        except openai.APIStatusError as error:
            answer = _body_of(error)
            raise self._failure(error) from error
        finally:
            usage = self._usage(answer, failed=not is_good)
            self._meter.add(usage)
        return usage, answer

    def _failure(self, error: APIStatusError) -> Exception:
        """What a status other than 200 means."""
        text = _first_line(error)
        is_passing = error.status_code in _PASSING or error.status_code >= 500
        if error.code == "insufficient_quota":  # A 429 that no waiting helps.
            is_passing = False
        if is_passing:
            wait = _retry_after(error.response.headers)
            if wait is None or wait <= self.settings.max_retry_after_s:
                return _Retry(text, wait_s=wait)
            text += f" (asks to wait {wait:.0f} s, server.max_retry_after_s is "
            text += f"{self.settings.max_retry_after_s:g})"
        if error.status_code in (400, 413, 422) and any(sign in str(error) for sign in _TOO_LONG):
            return ContextOverflow(f"{self.settings.base_url}: {text}")
        return ServerError(f"{self.settings.base_url}: {text}", is_passing=is_passing)

    def _usage(self, answer: Mapping[str, Any], *, failed: bool) -> Usage:
        told = as_object(answer.get("usage"))
        prompt, completion = (
            value if isinstance(value := told.get(name), int) else 0
            for name in ("prompt_tokens", "completion_tokens")
        )
        return Usage(
            calls=1,
            failed_calls=int(failed),
            prompt_tokens=prompt,
            completion_tokens=completion,
            cost=self.settings.cost(prompt_tokens=prompt, completion_tokens=completion),
        )

    def _wait(self, attempt: int, *, failure: _Retry) -> float:
        settings = self.settings
        longest = min(settings.max_wait_s, settings.first_wait_s * 2.0 ** min(attempt, 30))
        return max(failure.wait_s or 0.0, longest * (1.0 - 0.25 * self._jitter.random()))

    def _make_part(self) -> _Part:
        """On the thread's loop, at the first call."""
        if self._parts:
            return self._parts[0]
        from openai import AsyncOpenAI

        settings = self.settings
        part = _Part(
            client=AsyncOpenAI(
                api_key=self._key,
                base_url=settings.base_url,
                timeout=settings.timeout_s,
                max_retries=0,
            ),
            gate=asyncio.Semaphore(settings.max_concurrent),
            rate=RateLimit(
                requests=settings.requests_per_minute, tokens=settings.tokens_per_minute
            ),
        )
        self._parts.append(part)
        return part


async def _post(client: AsyncOpenAI, *, call: Call, body: Mapping[str, Any]) -> str:
    """The text of the answer. Only what every version of the client knows is passed by name."""
    rest = {key: value for key, value in body.items() if key not in ("model", "prompt", "messages")}
    if call == "chat":
        response = await client.chat.completions.with_raw_response.create(
            model=body["model"], messages=body["messages"], extra_body=rest
        )
    else:
        response = await client.completions.with_raw_response.create(
            model=body["model"], prompt=body["prompt"], extra_body=rest
        )
    return str(response.http_response.text)


def _read(text: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise _Retry(f"the answer is no JSON ({error}): {text[:80]!r}") from error
    if not isinstance(answer, dict):
        raise _Retry(f"the answer is no JSON object: {text[:80]!r}")
    return cast(dict[str, Any], answer)


def _check(answer: Mapping[str, Any]) -> None:
    choices = as_list(answer.get("choices"))
    if not choices or not as_object(choices[0]):
        raise _Retry(f"the answer has no choices: {str(answer)[:80]}")


def _model_names(text: str) -> list[str]:
    """Of a list of models; none where the answer is something else."""
    try:
        entries = map(as_object, as_list(as_object(json.loads(text)).get("data")))
    except ValueError:
        return []
    return [str(entry["id"]) for entry in entries if "id" in entry]


def _body_of(error: APIStatusError) -> dict[str, Any]:
    try:
        return as_object(error.response.json())
    except ValueError:
        return {}


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from `retry-after-ms`, or from `retry-after` as a number or a date."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if not value:
            continue
        try:
            return max(0.0, float(value) * scale)
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - time())
        except ValueError:
            continue
    return None


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _serve(loop: asyncio.AbstractEventLoop, parts: list[_Part]) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_wind_up(parts))
        loop.close()


async def _wind_up(parts: list[_Part]) -> None:
    """Give up on calls under way, so that whoever waits for them is told; close connections."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)
    for part in parts:
        await part.client.close()


def _end(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
