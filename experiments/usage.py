"""What every `dyna` command shares: how a mistake is told, and how a config is found."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from rich.console import Console

from dyna.nearest import did_you_mean

DONE = 0
FAILED = 1
MISTAKE = 2
INTERRUPTED = 130

_WIDTH = 240


class UsageError(ValueError):
    """The command line asks for something that is not there."""


def wide_console() -> Console:
    """For tables: into a pipe too, no name or number is cut."""
    return Console(width=max(_WIDTH, Console().width), soft_wrap=True)


def shipped_configs() -> list[str]:
    """Names of the configs in the package: `dyna train NAME`."""
    names = [entry.name for entry in (files("experiments") / "configs").iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))


def find_config(name: str) -> Path:
    """A path as given, or the shipped config of that name; raises `UsageError` for neither."""
    path = Path(name)
    if path.exists() and (path.suffix or not path.is_dir()):
        return path
    known = shipped_configs()
    if name in known:
        return Path(str(files("experiments") / "configs" / f"{name}.yaml"))
    hint = did_you_mean(name, known) or f"; shipped: {', '.join(known)}"
    raise UsageError(f"there is no config `{name}`, neither a file nor a shipped one{hint}")


__all__ = [
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "MISTAKE",
    "UsageError",
    "find_config",
    "shipped_configs",
    "wide_console",
]
