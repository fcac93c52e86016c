"""What an OpenEnv server says of its messages, and which of their fields mean what to us.

Every server publishes the JSON schemas of its actions and observations under `/schema`. Servers of
ours say there, under `dyna`, all that a client must know; for others the fields are named by the
user, or found where only one can be meant.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from dyna.nearest import did_you_mean

EXTENSION = "dyna"
"""The key in an observation's schema under which our servers describe themselves."""
_NOT_CONTENT = ("metadata", "done", "reward")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Names of fields, in actions and observations; an empty one is not used."""

    action: str
    observation: Sequence[str]
    admissible: str = ""
    success: str = ""
    valid: str = ""
    stop: str = ""
    """True, or the name of a stop reason, where the episode was cut rather than ended."""
    hidden_state: str = ""


OURS = Fields(
    action="command",
    observation=("text",),
    admissible="admissible",
    success="success",
    valid="valid",
    stop="stop",
    hidden_state="hidden_state",
)
"""Of the messages in `dyna.envs.openenv.messages`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The answer to `/schema`, as far as a client needs it."""

    action: Mapping[str, Any]
    """The properties of an action by name, each with its JSON schema."""
    required: Sequence[str]
    observation: Mapping[str, Any]
    extension: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What a server of ours adds: `world`, `source` and `splits` with their sizes."""


def read_schema(url: str, *, timeout_s: float) -> Schema:
    """Ask a server. Raises `ConnectionError` if it does not answer, and `ValueError` if what
    answers is no OpenEnv server."""
    # A proxy cannot reach this machine's own loopback.
    is_local = urlsplit(url).hostname in _LOOPBACK
    opener = build_opener(ProxyHandler({})) if is_local else build_opener()
    request = Request(f"{url}/schema", headers={"Accept": "application/json"})
    try:
        with opener.open(request, timeout=timeout_s) as response:
            body = response.read()
    except (URLError, OSError, TimeoutError) as error:
        raise ConnectionError(
            f"no OpenEnv server answers at {url} ({error}); start it, or correct the parameter "
            "`url`"
        ) from error
    try:
        found = json.loads(body)
        action, observation = found["action"], found["observation"]
        return Schema(
            action=action["properties"],
            required=action.get("required", []),
            observation=observation["properties"],
            extension=observation.get(EXTENSION, {}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{url}/schema does not read like an OpenEnv server's ({error!r}); correct the "
            "parameter `url`"
        ) from error


def choose_fields(schema: Schema, *, given: Fields, needs_action: bool) -> Fields:
    """`given` with what was left open filled in. Raises `ValueError` for a field that the server
    does not have, and where it is not clear which one is meant."""
    if schema.extension and not given.action and not given.observation:
        return OURS
    action, observation = given.action, list(given.observation)
    if needs_action:
        action = action or _only(schema.action, kind="action", parameter="action_field")
        check_field(action, schema.action, parameter="action_field")
    if not observation:
        observation = [
            _only(schema.observation, kind="observation", parameter="observation_fields")
        ]
    for name in observation:
        check_field(name, schema.observation, parameter="observation_fields")
    others = {
        "admissible_field": given.admissible,
        "success_field": given.success,
        "valid_field": given.valid,
        "stop_field": given.stop,
        "hidden_state_field": given.hidden_state,
    }
    for parameter, name in others.items():
        if name:
            check_field(name, schema.observation, parameter=parameter)
    return Fields(
        action=action,
        observation=tuple(observation),
        admissible=given.admissible,
        success=given.success,
        valid=given.valid,
        stop=given.stop,
        hidden_state=given.hidden_state,
    )


def check_field(path: str, properties: Mapping[str, Any], *, parameter: str) -> None:
    """Raise `ValueError` if the first part of a dotted path is no property."""
    name = path.split(".")[0]
    if name not in properties:
        hint = did_you_mean(name, properties) or f"; it has: {', '.join(properties) or 'none'}"
        raise ValueError(f"the server has no field {name!r} for `{parameter}`{hint}")


def pick(message: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path (`messages.-1.content`); None where there is none."""
    value: Any = message
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = cast(Mapping[str, Any], value).get(part)
        elif isinstance(value, list) and part.lstrip("-").isdigit():
            items = cast(list[Any], value)
            value = items[int(part)] if -len(items) <= int(part) < len(items) else None
        else:
            return None
    return value


def in_words(message: Mapping[str, Any], *, fields: Sequence[str]) -> str:
    """The fields as text: one as it is, several each under its name."""
    texts = {name: _text(pick(message, name)) for name in fields}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return "\n".join(f"{name}: {text}" for name, text in texts.items() if text)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _only(properties: Mapping[str, Any], *, kind: str, parameter: str) -> str:
    """The one text field among the content of a message."""
    content = {name: form for name, form in properties.items() if name not in _NOT_CONTENT}
    texts = [name for name, form in content.items() if _is_text(form)]
    if len(texts) == 1:
        return texts[0]
    found = f"{len(texts)} text fields" if texts else "no text field"
    raise ValueError(
        f"the server's {kind} has {found}, so it is not clear what is meant: set `{parameter}` to "
        f"one of {', '.join(content) or 'none'}"
    )


def _is_text(form: Any) -> bool:
    if not isinstance(form, Mapping):
        return False
    mapping = cast(Mapping[str, Any], form)
    choices = cast(list[dict[str, Any]], mapping.get("anyOf", [mapping]))
    kinds = {choice.get("type") for choice in choices}
    return "string" in kinds and kinds <= {"string", "null"}


__all__ = [
    "EXTENSION",
    "OURS",
    "Fields",
    "Schema",
    "check_field",
    "choose_fields",
    "in_words",
    "pick",
    "read_schema",
]
