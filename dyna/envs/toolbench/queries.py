"""StableToolBench's solvable queries, read from its own files.

A folder of `G1_*.json`, ... as in its `solvable_queries/test_instruction`, one such file, or all of
them in one JSON object by name; each may be compressed as `.xz` or `.gz`. What is missing or of
another shape is named with its place in the file.
"""

from __future__ import annotations

import gzip
import json
import lzma
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from dyna.files import DamagedFileError

_SUFFIXES = (".json", ".json.xz", ".json.gz")
_FINISH_NAME_LIMIT = 64
_NOT_WORD = re.compile(r"[^a-zA-Z0-9_]")
_CLASHES = frozenset({"from", "class", "return", "false", "true", "id", "and"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialApi:
    """One entry of a query's `api_list`, and how ToolBench calls it."""

    category: str
    tool: str
    name: str
    function: str
    """What an agent calls: `api_for_tool`, standardized, its last 64 characters."""
    record: Mapping[str, Any]
    required: tuple[str, ...]
    optional: tuple[str, ...]
    """Parameters by the names they have in a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    key: str
    """`<set>/<query id>`."""
    family: str
    """The set: `G1_instruction`, ..."""
    text: str
    apis: tuple[OfficialApi, ...]
    relevant: tuple[str, ...]
    """Functions that the authors hold to be needed."""

    def content_key(self) -> str:
        """Equal for the same question in the same words, whatever the set."""
        text = " ".join(self.text.split()).casefold()
        return blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def load_queries(path: Path) -> list[Query]:
    """All queries of a folder or file, set by set.

    Raises `FileNotFoundError`, or `DamagedFileError` for what is no such file.
    """
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES))
        if not files:
            raise DamagedFileError(
                f"{path} holds no .json file; point `data` to StableToolBench's "
                "solvable_queries/test_instruction, or to one file of it"
            )
        sets = {file.name.split(".")[0]: _read(file) for file in files}
    else:
        whole = _read(path)
        known = isinstance(whole, dict)
        sets = cast("dict[str, Any]", whole) if known else {path.name.split(".")[0]: whole}
    queries: list[Query] = []
    seen: set[str] = set()
    for family, entries in sets.items():
        for query in _queries(entries, family=family, path=path):
            if query.key in seen:
                raise DamagedFileError(f"{path} has query {query.key!r} twice; remove one")
            seen.add(query.key)
            queries.append(query)
    if not queries:
        raise DamagedFileError(f"{path} holds no queries; download it again")
    return queries


def _read(path: Path) -> Any:
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; point `data` to StableToolBench's solvable_queries"
        )
    try:
        data = path.read_bytes()
        if path.name.endswith(".xz"):
            data = lzma.decompress(data)
        elif path.name.endswith(".gz"):
            data = gzip.decompress(data)
        return json.loads(data)
    except (ValueError, OSError, EOFError, RecursionError, lzma.LZMAError) as error:
        raise DamagedFileError(
            f"{path} is not whole JSON ({type(error).__name__}: {error}); download it again"
        ) from error


def _queries(entries: Any, *, family: str, path: Path) -> list[Query]:
    if not isinstance(entries, list):
        raise DamagedFileError(f"{path}: {family} must be a list of queries")
    found: list[Query] = []
    for index, entry in enumerate(cast("list[Any]", entries)):
        place = f"{path}: {family}[{index}]"
        if not isinstance(entry, dict):
            raise DamagedFileError(f"{place} must be an object, got {type(entry).__name__}")
        given = cast("dict[str, Any]", entry)
        text, listed = given.get("query"), given.get("api_list")
        if not isinstance(text, str) or not text.strip():
            raise DamagedFileError(f"{place} has no `query` text")
        if not isinstance(listed, list) or not listed:
            raise DamagedFileError(f"{place} has no `api_list`")
        apis = [
            _api(api, place=f"{place}.api_list[{number}]")
            for number, api in enumerate(cast("list[Any]", listed))
        ]
        found.append(
            Query(
                key=f"{family}/{given.get('query_id', index)}",
                family=family,
                text=text,
                apis=tuple({api.function: api for api in apis}.values()),
                relevant=_relevant(given.get("relevant APIs"), apis=apis),
            )
        )
    return found


def _api(entry: Any, *, place: str) -> OfficialApi:
    if not isinstance(entry, dict):
        raise DamagedFileError(f"{place} must be an object, got {type(entry).__name__}")
    record = cast("dict[str, Any]", entry)
    for name in ("category_name", "tool_name", "api_name"):
        if not isinstance(record.get(name), str):
            raise DamagedFileError(f"{place} has no `{name}`")
    tool = standardize(record["tool_name"])
    return OfficialApi(
        category=record["category_name"],
        tool=record["tool_name"],
        name=record["api_name"],
        function=f"{call_name(record['api_name'])}_for_{tool}"[-_FINISH_NAME_LIMIT:],
        record=record,
        required=_names(record, "required_parameters", place=place),
        optional=_names(record, "optional_parameters", place=place),
    )


def _names(record: Mapping[str, Any], field: str, *, place: str) -> tuple[str, ...]:
    listed = record.get(field, [])
    if not isinstance(listed, list):
        raise DamagedFileError(f"{place}.{field} must be a list")
    names: list[str] = []
    for entry in cast("list[Any]", listed):
        given = cast("dict[str, Any]", entry) if isinstance(entry, dict) else {}
        if not isinstance(given.get("name"), str):
            raise DamagedFileError(f"{place}.{field} has an entry without `name`")
        names.append(call_name(given["name"]))
    return tuple(names)


def _relevant(pairs: Any, *, apis: Sequence[OfficialApi]) -> tuple[str, ...]:
    """Functions of the (tool, api) pairs that are in the list; the rest cannot be called."""
    if not isinstance(pairs, list):
        return ()
    wanted = [tuple(cast("list[Any]", p)) for p in cast("list[Any]", pairs) if isinstance(p, list)]
    return tuple(api.function for pair in wanted for api in apis if (api.tool, api.name) == pair)


def standardize(text: str) -> str:
    """ToolBench's names for Python: other characters become single underscores, in lower case."""
    name = re.sub(r"_+", "_", _NOT_WORD.sub("_", text)).strip("_").lower()
    return f"get_{name}" if name[:1].isdigit() else name


def call_name(text: str) -> str:
    """The name of an API or a parameter in a call: standardized, and no word of Python's."""
    name = standardize(text)
    return f"is_{name}" if name in _CLASHES else name


def standardize_category(text: str) -> str:
    """The folder of a category in ToolBench's trees."""
    return re.sub(r"[ ,/]", "_", text).replace("__", "_")


__all__ = [
    "OfficialApi",
    "Query",
    "call_name",
    "load_queries",
    "standardize",
    "standardize_category",
]
