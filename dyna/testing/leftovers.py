"""What a world may leave behind in this process: child processes, threads, open files."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_WAIT_S = 5.0
"""How long things that are ending may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Example: `before = Leftovers.now(); ...; assert not Leftovers.after(before)`"""

    children: frozenset[int]
    threads: frozenset[int]
    files: int
    """Open file descriptors."""

    @classmethod
    def now(cls) -> Leftovers:
        return cls(
            children=frozenset(_children()),
            threads=frozenset(t.ident for t in threading.enumerate() if t.ident is not None),
            files=_open_files(),
        )

    @classmethod
    def after(cls, before: Leftovers) -> str:
        """What is there now and was not before, in words; empty if nothing is."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            now = cls.now()
            found = {
                "child processes": sorted(now.children - before.children),
                "threads": sorted(now.threads - before.threads),
                "more open files": max(0, now.files - before.files),
            }
            words = ", ".join(f"{name}: {what}" for name, what in found.items() if what)
            if not words or time.monotonic() > deadline:
                return words
            time.sleep(0.05)


def _children() -> list[int]:
    """Living children of this process; none can be seen where there is no `/proc`."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.append(int(folder.name))
    return found


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


__all__ = ["Leftovers"]
