"""What a world needs beyond the core packages, and the one command that installs it.

A world's module imports nothing of its extra at the top. It calls `require` when it is made, so
that a missing or unfit package is named at once, in one sentence, and not in the middle of a run.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from packaging.specifiers import SpecifierSet

EXTRAS: Mapping[str, Mapping[str, str]] = {
    "alfworld": {"alfworld": "==0.4.*"},
    "openenv": {"openenv-core": ">=0.2.1,<0.4"},
    "scienceworld": {"scienceworld": "==1.2.*"},
    "textworld": {"textworld": "==1.7.*"},
    "textworld-express": {"textworld-express": "==1.1.*"},
    "webshop": {"bm25s": ">=0.2", "PyStemmer": ">=2.2", "rapidfuzz": ">=3.9"},
}
"""The distributions of each extra and the versions that its adapter was written for."""


class MissingExtraError(ValueError):
    """A world cannot be made because something that it needs is not installed."""


def missing(extra: str) -> list[str]:
    """What of an extra is absent or of another version, each in words; empty if all is there."""
    found: list[str] = []
    for distribution, wanted in EXTRAS[extra].items():
        try:
            present = version(distribution)
        except PackageNotFoundError:
            found.append(f"`{distribution}` is not installed")
            continue
        if not SpecifierSet(wanted).contains(present, prereleases=True):
            found.append(f"`{distribution}` is {present}, {wanted} is needed")
    return found


def install_command(extra: str) -> str:
    return f'pip install "dyna-agents[{extra}]"'


def require(extra: str, *, world: str) -> None:
    """Raise `MissingExtraError`, with the command that installs it, if the extra is not there."""
    if problems := missing(extra):
        raise MissingExtraError(
            f"the world `{world}` cannot be made: {', '.join(problems)}; "
            f"run: {install_command(extra)}"
        )


def require_java(*, world: str) -> str:
    """The path of `java`. Raises `MissingExtraError` if there is none on PATH."""
    java = shutil.which("java")
    if java is None:
        raise MissingExtraError(
            f"the world `{world}` runs on Java and there is no `java` on PATH; install a Java "
            "runtime, version 8 or newer (Debian, Ubuntu: apt-get install default-jre-headless)"
        )
    return java


__all__ = ["EXTRAS", "MissingExtraError", "install_command", "missing", "require", "require_java"]
