"""Who answers a call of StableToolBench's APIs: recorded responses, or its virtual server."""

from __future__ import annotations

import ast
import json
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, cast

from dyna.envs.toolbench.queries import OfficialApi, call_name, standardize, standardize_category
from dyna.files import DamagedFileError

_MAX_FILES = 512
_MAX_REPLY = 4 * 2**20


class ServerError(RuntimeError):
    """A server that cannot be reached, or answers with something else than it should."""


class ResponseCache:
    """`tool_response_cache/<category>/<tool>/<api>.json`: Python's text of the input, to response.

    Equal inputs match in any order of their keys. Raises `FileNotFoundError` for a folder that is
    not there, and `DamagedFileError` for a file that is no such table. Thread-safe.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is not a folder; point `cache` to StableToolBench's tool_response_cache"
            )
        self._folder = folder
        self._files: OrderedDict[Path, Mapping[str, Any]] = OrderedDict()
        self._lock = Lock()

    def find(self, api: OfficialApi, *, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """The recorded {"error", "response"} of a call; None where there is none."""
        for path in self.paths(api):
            recorded = self.recorded(path)
            found = recorded.get(str(dict(arguments)), recorded.get(_sorted(arguments)))
            if isinstance(found, dict):
                return cast("dict[str, Any]", found)
        return None

    def paths(self, api: OfficialApi) -> list[Path]:
        """The files that may hold an API's responses and that are there."""
        category = standardize_category(api.category)
        tool, file = standardize(api.tool), f"{call_name(api.name)}.json"
        folders = (f"{tool}_for_{category}", tool)
        paths = [self._folder / category / folder / file for folder in folders]
        return [path for path in paths if path.is_file()]

    def recorded(self, path: Path) -> Mapping[str, Any]:
        """All of one file, under both the keys as written and sorted ones."""
        with self._lock:
            if path in self._files:
                self._files.move_to_end(path)
                return self._files[path]
        try:
            value: Any = json.loads(path.read_bytes())
        except (ValueError, OSError, RecursionError) as error:
            raise DamagedFileError(
                f"{path} is not whole JSON ({error}); remove the file or download the cache again"
            ) from error
        if not isinstance(value, dict):
            raise DamagedFileError(f"{path} must map inputs to responses; remove the file")
        table: dict[str, Any] = {}
        for key, response in cast("dict[str, Any]", value).items():
            table[key] = response
            arguments = read_input(key)
            if arguments is not None:
                table.setdefault(_sorted(arguments), response)
        with self._lock:
            self._files[path] = table
            if len(self._files) > _MAX_FILES:
                self._files.popitem(last=False)
        return table


def read_input(key: str) -> dict[str, Any] | None:
    """The arguments in a key of the cache; None where it is no dictionary."""
    try:
        value: Any = ast.literal_eval(key)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _sorted(arguments: Mapping[str, Any]) -> str:
    # The mark keeps such a key apart from the keys as written.
    return "\x00" + str(sorted(((str(k), str(v)) for k, v in arguments.items())))


class VirtualServer:
    """StableToolBench's server: `POST <url>` with a call, {"error", "response"} back.

    `url` is with its path, as `http://127.0.0.1:8080/virtual`. Raises `ServerError` when it does
    not answer within `timeout_s` seconds, or not as agreed: such an episode is a failure of the
    world and none of the agent's.
    """

    def __init__(self, url: str, *, toolbench_key: str, timeout_s: float) -> None:
        check_url(url, name="server")
        self._url = url
        self._key = toolbench_key
        self._timeout_s = timeout_s

    def ask(self, api: OfficialApi, *, arguments: Mapping[str, Any]) -> dict[str, Any]:
        payload = {
            "category": api.category,
            "tool_name": standardize(api.tool),
            "api_name": call_name(api.name),
            "tool_input": json.dumps(arguments),
            "strip": "truncate",
            "toolbench_key": self._key,
        }
        reply = post_json(
            self._url,
            payload=payload,
            headers={"toolbench_key": self._key} if self._key else {},
            timeout_s=self._timeout_s,
        )
        if not isinstance(reply.get("error"), str) or "response" not in reply:
            raise ServerError(
                f"{self._url} answered without `error` and `response`: {str(reply)[:200]}"
            )
        return reply


def check_url(url: str, *, name: str) -> None:
    """Raise `ValueError` for what is no address of a web server."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"toolbench {name} must be an http:// or https:// address, got {url!r}")


def post_json(
    url: str, *, payload: Mapping[str, Any], headers: Mapping[str, str], timeout_s: float
) -> dict[str, Any]:
    """The JSON object that a server answers with. Raises `ServerError`, naming the address."""
    request = urllib.request.Request(
        url,
        data=json.dumps(payload).encode(),
        headers={"Content-Type": "application/json", **headers},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as reply:
            body = reply.read(_MAX_REPLY + 1)
    except urllib.error.HTTPError as error:
        detail = error.read(300).decode("utf-8", "replace")
        raise ServerError(f"{url} answered HTTP {error.code}: {detail}") from error
    except TimeoutError as error:
        raise ServerError(f"{url} did not answer within {timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        raise ServerError(f"{url} cannot be reached ({error}); is the server running?") from error
    if len(body) > _MAX_REPLY:
        raise ServerError(f"{url} answered with more than {_MAX_REPLY} bytes")
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServerError(f"{url} answered with no JSON: {body[:200]!r}") from error
    if not isinstance(value, dict):
        raise ServerError(f"{url} answered with JSON that is no object: {body[:200]!r}")
    return cast("dict[str, Any]", value)


__all__ = [
    "ResponseCache",
    "ServerError",
    "VirtualServer",
    "check_url",
    "post_json",
    "read_input",
]
