"""Where a server is, what it serves, what it charges, and how hard it may be pressed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from dyna.configuring import ConfigError
from dyna.nearest import did_you_mean
from dyna.validation import AT_LEAST_ONE, COUNT, NON_NEGATIVE, POSITIVE, Range


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The `server` params of an `openai` engine, policy or world model."""

    model_name: str
    """As the server calls it."""
    base_url: str = "https://api.openai.com/v1"
    """Up to and with `/v1`."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; empty for a server that asks for none."""
    timeout_s: float = 120.0
    """Seconds for one call."""
    max_retries: int = 6
    """Times that a call is repeated after a timeout, a lost connection, or status 408, 409, 429 or
    5xx."""
    first_wait_s: float = 0.5
    """Before the first repetition; doubled for each one after it, less up to a quarter at random.
    """
    max_wait_s: float = 30.0
    """The longest such wait."""
    max_retry_after_s: float = 300.0
    """A server's `Retry-After` is obeyed up to this; beyond it the call fails at once."""
    max_concurrent: int = 64
    """Calls under way at once; more wait."""
    requests_per_minute: int = 0
    """Sent in any 60 seconds, repetitions too; 0 is no limit."""
    tokens_per_minute: int = 0
    """Prompt and completion together; a call counts with `max_tokens` until it has ended."""
    prompt_price: float = 0.0
    """Of a million tokens."""
    completion_price: float = 0.0
    """Of a million tokens."""
    omit: tuple[str, ...] = ()
    """Fields of the request that the server does not know, such as `seed` or `temperature`."""
    extra_body: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields that are added to every request."""

    def __post_init__(self) -> None:
        for name, bounds in _RANGES.items():
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"server.{name} must be a number, got {value!r}")
            if value not in bounds:
                raise ConfigError(f"server.{name} must be {bounds}, got {value}")
        if not self.model_name:
            raise ConfigError("server.model_name must name what the server serves, got ''")
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ConfigError(
                f"server.base_url must read http://HOST:PORT/v1 or https://..., "
                f"got {self.base_url!r}"
            )
        if url.username or url.password or url.query:
            raise ConfigError(
                "server.base_url must hold no credentials, for it is saved and logged; put the key "
                "into an environment variable and its name into server.api_key_env"
            )

    def read_key(self) -> str:
        """Raises `ConfigError` when the environment has no key."""
        if not self.api_key_env:
            return "none"
        key = os.environ.get(self.api_key_env, "")
        if not key:
            raise ConfigError(
                f"server.api_key_env: the environment variable {self.api_key_env} is not set; set "
                "it to the server's key (on every node, for a run on a cluster), or set "
                "server.api_key_env to '' if the server asks for none"
            )
        return key

    def cost(self, *, prompt_tokens: int, completion_tokens: int) -> float:
        spent = prompt_tokens * self.prompt_price + completion_tokens * self.completion_price
        return spent / 1e6


_RANGES: dict[str, Range] = {
    "timeout_s": POSITIVE,
    "max_retries": COUNT,
    "first_wait_s": POSITIVE,
    "max_wait_s": POSITIVE,
    "max_retry_after_s": NON_NEGATIVE,
    "max_concurrent": AT_LEAST_ONE,
    "requests_per_minute": COUNT,
    "tokens_per_minute": COUNT,
    "prompt_price": NON_NEGATIVE,
    "completion_price": NON_NEGATIVE,
}


def read_settings(server: Mapping[str, Any] | ServerSettings) -> ServerSettings:
    """Settings from the `server` params. Raises `ConfigError` for what cannot be used."""
    if isinstance(server, ServerSettings):
        return server
    known = {entry.name for entry in fields(ServerSettings)}
    for name in server:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known: {', '.join(sorted(known))}"
            raise ConfigError(f"server.{name} is unknown{hint}")
    if "model_name" not in server:
        raise ConfigError("server.model_name is missing: the name of the model that is served")
    values = dict(server)
    values["omit"] = tuple(values.get("omit", ()))
    return ServerSettings(**values)
