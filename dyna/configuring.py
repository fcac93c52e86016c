"""From YAML and `key=value` to a config, and back. OmegaConf is used here and nowhere else.

`load` gives a `RunConfig`; `load_tree` gives any other tree of frozen dataclasses.

Whatever is wrong is a `ConfigError` that names the key, its value and the nearest valid name, and
it is raised before anything has started. `dump` writes every field, so a saved file needs no
defaults to mean the same run again.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dyna.config import RunConfig
from dyna.files import replacing
from dyna.nearest import did_you_mean
from dyna.validation import problems

_Tree = TypeVar("_Tree")
_TYPE_WORDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
}


class ConfigError(ValueError):
    """The configuration cannot be used; the message says what to change."""


def load(path: Path | None = None, *, overrides: Sequence[str] = ()) -> RunConfig:
    """The defaults, changed by a YAML file, changed by overrides such as `rounds=3`.

    Raises `ConfigError` for a file that is missing or half-written, an override that is not
    `key=value`, an unknown key, and a value of the wrong type or out of its range.
    """
    loaded = load_tree(RunConfig, path=path, overrides=overrides)
    found = problems(loaded)
    if found:
        raise ConfigError("\n".join(found))
    return loaded


def load_tree(
    root: type[_Tree], *, path: Path | None = None, overrides: Sequence[str] = ()
) -> _Tree:
    """The defaults of `root`, changed as by `load`, but for the ranges of its values.

    Raises `ConfigError` as `load` does, except for values out of their range.
    """
    layers: list[tuple[str, dict[str, Any]]] = []
    if path is not None:
        layers.append((f"{path}: ", _read_yaml(path)))
    layers += [("", _read_override(text)) for text in overrides]
    return _merged(root, layers=layers)


def changed(config: RunConfig, *, changes: Mapping[str, Any]) -> RunConfig:
    """`config` with other values at some keys, such as `{"real.group_size": 4}`.

    Raises `ConfigError` as `load` does.
    """
    own = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.create(dump(config))))
    layers = [("", own), *(("", _nested(key, value=value)) for key, value in changes.items())]
    loaded = _merged(RunConfig, layers=layers)
    found = problems(loaded)
    if found:
        raise ConfigError("\n".join(found))
    return loaded


def _nested(key: str, *, value: object) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value=value) if rest else value}


def _merged(root: type[_Tree], *, layers: Sequence[tuple[str, dict[str, Any]]]) -> _Tree:
    """The defaults of `root`, changed by layer after layer of (where it is from, values)."""
    config = OmegaConf.structured(root)
    for origin, values in layers:
        try:
            checked = _checked(values, section=root, path="", root=root)
            config = OmegaConf.merge(config, OmegaConf.create(checked))
        except ConfigError as error:
            raise ConfigError(f"{origin}{error}") from None
        except OmegaConfBaseException as error:
            told = _type_problem(error, values=values, root=root)
            raise ConfigError(f"{origin}{told}") from None
    try:
        loaded = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise ConfigError(_first_line(error)) from None
    assert isinstance(loaded, root)
    return loaded


def load_saved(path: Path) -> RunConfig:
    """The config that `save` wrote, which has every field.

    Raises `ConfigError` as `load` does, and for a missing field: half of a file may be whole YAML.
    """
    check_whole(path, root=RunConfig)
    return load(path)


def check_whole(path: Path, *, root: type) -> None:
    """Raise `ConfigError` for a saved file that lacks a field: half of a file may be whole YAML."""
    values = _read_yaml(path)
    missing = [name for name in field_types(root) if not _holds(values, name=name)]
    if missing:
        raise ConfigError(
            f"{path}: lacks `{missing[0]}` and {len(missing) - 1} more keys, so it was only half "
            "written; restore it from a copy, or add them (`dyna config` prints every key)"
        )


def _holds(values: object, *, name: str) -> bool:
    for part in name.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = cast(Mapping[str, object], values)[part]
    return True


def dump(config: object) -> str:
    """YAML with every field; `load` gives the same config back, exactly."""
    return "\n".join(_yaml_lines(config, comments=False, indent=0)) + "\n"


def describe(config: object) -> str:
    """`dump`, with a comment above each field: its docstring."""
    return "\n".join(_yaml_lines(config, comments=True, indent=0)) + "\n"


def save(config: object, *, path: Path) -> None:
    """Write `dump(config)`; a crash leaves the old file or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as draft:
        draft.write_text(dump(config), encoding="utf-8")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the config {path}: {error}") from None
    try:
        values = OmegaConf.to_container(OmegaConf.create(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {min(mark.line + 1, text.count(chr(10)) + 1)}" if mark else ""
        raise ConfigError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path}: not valid YAML: {_first_line(error)}") from None
    if not text.strip():
        raise ConfigError(f"{path}: the file is empty; write at least `name: my-run`")
    # OmegaConf reads a lone word as a key without a value.
    if not isinstance(values, dict) or values == {text.strip(): None}:
        raise ConfigError(f"{path}: must hold `key: value` lines, got {text.strip()[:40]!r}")
    return cast(dict[str, Any], values)


def _read_override(text: str) -> dict[str, Any]:
    key, equals, _ = text.partition("=")
    if not equals or not re.fullmatch(r"[^\s.\[\]]+(\.[^\s.\[\]]+)*", key):
        raise ConfigError(f"an override must read key=value, got {text!r}")
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist([text]))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"the value in {text!r} cannot be read: {_first_line(error)}") from None
    return cast(dict[str, Any], values)


def _checked(values: Mapping[str, Any], *, section: type, path: str, root: type) -> dict[str, Any]:
    """`values` with enum values in OmegaConf's spelling; unknown keys and non-sections raise."""
    hints = get_type_hints(section)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{path}{key}"
        if key not in hints:
            hint = _nearest_key(name, section=section, path=path, root=root)
            raise ConfigError(f"unknown key `{name}`{hint}")
        kind = hints[key]
        if is_dataclass(kind):
            if not isinstance(value, Mapping):
                hint = f"; did you mean `{name}.name`?" if "name" in get_type_hints(kind) else ""
                raise ConfigError(f"`{name}` is a section of keys, got {value!r}{hint}")
            inside = cast(Mapping[str, Any], value)
            checked[key] = _checked(inside, section=cast(type, kind), path=f"{name}.", root=root)
        elif isinstance(kind, type) and issubclass(kind, Enum):
            checked[key] = _enum_name(value, kind=kind, name=name)
        elif (entry := _entry_type(hints, key=key)) is not None:
            checked[key] = _checked_list(value, section=entry, path=name, root=root)
        elif isinstance(kind, type) and kind in (int, float) and isinstance(value, bool):
            raise ConfigError(f"`{name}` must be {_TYPE_WORDS[kind]}, got {value!r}")
        else:
            checked[key] = value
    return checked


def _entry_type(hints: Mapping[str, Any], *, key: str) -> type | None:
    """Of what sections a field is a list; None for a field of any other kind."""
    kind = hints[key]
    entry: Any = get_args(kind)[0] if get_origin(kind) is list else None
    return entry if isinstance(entry, type) and is_dataclass(entry) else None


def _checked_list(value: object, *, section: type, path: str, root: type) -> list[dict[str, Any]]:
    entries = cast(list[Any], value if isinstance(value, list) else [None])
    if not all(isinstance(entry, Mapping) for entry in entries):
        raise ConfigError(f"`{path}` is a list of sections of keys, got {value!r}")
    return [
        _checked(entry, section=section, path=f"{path}[{place}].", root=root)
        for place, entry in enumerate(entries)
    ]


def _enum_name(value: object, *, kind: type[Enum], name: str) -> str:
    for member in kind:
        if value == member.value:
            return member.name
    valid = [str(member.value) for member in kind]
    hint = did_you_mean(str(value), valid)
    raise ConfigError(f"`{name}` must be one of {', '.join(valid)}; got {value!r}{hint}")


def _nearest_key(name: str, *, section: type, path: str, root: type) -> str:
    """The same last word elsewhere in the tree, or else the most similar key beside it."""
    key = name.removeprefix(path)
    known = field_types(root)
    prefixes = {other[: at.start()] for other in known for at in re.finditer(r"\.", other)}
    same = sorted(other for other in {*known, *prefixes} if other.rsplit(".", 1)[-1] == key)
    if same:
        return f"; did you mean {' or '.join(f'`{other}`' for other in same[:3])}?"
    near = did_you_mean(key, list(get_type_hints(section)), prefix=path)
    near = near or did_you_mean(name, list(known))
    return near or f"; valid here: {', '.join(get_type_hints(section))}"


def _type_problem(error: OmegaConfBaseException, *, values: Mapping[str, Any], root: type) -> str:
    name = str(getattr(error, "full_key", "") or "")
    kind = field_types(root).get(name)
    value: Any = values
    for part in name.split("."):
        value = cast(Mapping[str, Any], value).get(part) if isinstance(value, Mapping) else value
    if isinstance(kind, type) and kind in _TYPE_WORDS:
        return f"`{name}` must be {_TYPE_WORDS[kind]}, got {value!r}"
    return f"`{name}`: {_first_line(error)}" if name else _first_line(error)


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


@cache
def field_types(root: type = RunConfig) -> dict[str, Any]:
    """Dotted name of every leaf field of a config, with its type."""

    def walk(section: type, path: str) -> dict[str, Any]:
        leaves: dict[str, Any] = {}
        for key, kind in get_type_hints(section).items():
            if is_dataclass(kind):
                leaves |= walk(cast(type, kind), f"{path}{key}.")
            else:
                leaves[f"{path}{key}"] = kind
        return leaves

    return walk(root, "")


@cache
def field_docs(module: str) -> dict[tuple[str, str], str]:
    """Of a module: (class, field) to its attribute docstring; (class, "") to the class's own."""
    docs: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(import_module(module))).body:
        if not isinstance(node, ast.ClassDef):
            continue
        docs[node.name, ""] = _one_line(ast.get_docstring(node) or "")
        for statement, following in zip(node.body, node.body[1:], strict=False):
            target = statement.target if isinstance(statement, ast.AnnAssign) else None
            if not isinstance(target, ast.Name) or not isinstance(following, ast.Expr):
                continue
            text = following.value.value if isinstance(following.value, ast.Constant) else None
            if isinstance(text, str):
                docs[node.name, target.id] = _one_line(text)
    return docs


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _yaml_lines(section: object, *, comments: bool, indent: int) -> list[str]:
    assert is_dataclass(section)
    lines: list[str] = []
    pad = "  " * indent
    owner, docs = type(section).__name__, field_docs(type(section).__module__)
    for entry in fields(section):
        value: object = getattr(section, entry.name)
        comment = docs.get((owner, entry.name), "") if comments else ""
        if comments and is_dataclass(value):
            inner = field_docs(type(value).__module__)
            comment = comment or inner.get((type(value).__name__, ""), "")
        if comments and isinstance(value, Enum) and not comment:
            comment = f"One of: {', '.join(str(member.value) for member in type(value))}."
        if comments and indent == 0 and is_dataclass(value):
            lines.append("")
        if comment:
            lines.append(f"{pad}# {comment}")
        if is_dataclass(value):
            lines.append(f"{pad}{entry.name}:")
            lines += _yaml_lines(value, comments=comments, indent=indent + 1)
        else:
            text = OmegaConf.to_yaml(OmegaConf.create({entry.name: _plain(value)}))
            lines += [f"{pad}{line}" for line in text.rstrip("\n").split("\n")]
    return lines


def _plain(value: object) -> object:
    """Enums by value; `${` escaped, for a saved string means itself and is no reference."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    if is_dataclass(value):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in cast(Mapping[Any, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in cast(Sequence[Any], value)]
    return value
