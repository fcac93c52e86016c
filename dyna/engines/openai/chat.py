"""A server as a partner in chat: messages go out, one message comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from dyna.engines.openai.answers import as_list, as_object
from dyna.engines.openai.client import ServerClient, ServerError
from dyna.engines.openai.settings import ServerSettings, read_settings
from dyna.spending import METER, Meter

Message: TypeAlias = tuple[str, str]
"""Role (`system`, `user` or `assistant`) and content."""

_CHARACTERS_PER_TOKEN = 3
"""For a guess at what a prompt costs; English has about four, rare words fewer."""
_TOKENS_PER_MESSAGE = 8
_MAX_SEED = 2**31 - 1
"""What every server takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    text: str
    finished: bool
    """False when `max_tokens` or a filter of the server cut it."""
    log_probs: tuple[float, ...] = ()
    """Of each token, if asked for."""


class ChatServer:
    """Chat with one served model.

    Example: `ChatServer({"model_name": "gpt-4o-mini", "requests_per_minute": 500})`
    """

    def __init__(
        self,
        server: Mapping[str, Any] | ServerSettings,
        *,
        check: bool = True,
        meter: Meter = METER,
    ) -> None:
        """`check` asks the server at once whether it is there and serves the model.

        Raises `ConfigError` for settings that cannot be used.
        """
        self._settings = read_settings(server)
        self._client = ServerClient(self._settings, meter=meter)
        if check:
            self._client.check()

    @property
    def name(self) -> str:
        return f"{self._settings.model_name} at {self._settings.base_url}"

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        log_probs: bool = False,
    ) -> ChatReply:
        """Raises as `ServerClient.send` does, and `ServerError` when log-probs are asked for and
        do not come."""
        body: dict[str, Any] = {
            "model": self._settings.model_name,
            "messages": [{"role": role, "content": _sound(text)} for role, text in messages],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed & _MAX_SEED,
        }
        if log_probs:
            body["logprobs"] = True
        body |= self._settings.extra_body
        answer = await self._client.send(
            "chat",
            {key: value for key, value in body.items() if key not in self._settings.omit},
            num_prompt_tokens=_guess(messages),
            max_tokens=max_tokens,
        )
        choice = answer["choices"][0]
        message = as_object(choice.get("message"))
        return ChatReply(
            text=_sound(str(message.get("content") or "")),
            finished=choice.get("finish_reason") == "stop",
            log_probs=self._log_probs(choice) if log_probs else (),
        )

    def close(self) -> None:
        self._client.close()

    def _log_probs(self, choice: Mapping[str, Any]) -> tuple[float, ...]:
        told = as_list(as_object(choice.get("logprobs")).get("content"))
        if not told:
            raise ServerError(
                f"{self.name} returns no log-probs; do not ask it for them", is_passing=False
            )
        return tuple(float(entry["logprob"]) for entry in told)


def _sound(text: str) -> str:
    """What no UTF-8 can hold, half a surrogate pair, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _guess(messages: Sequence[Message]) -> int:
    return sum(
        _TOKENS_PER_MESSAGE + len(content) // _CHARACTERS_PER_TOKEN for _, content in messages
    )
