"""Processes of this machine, read from `/proc`: who belongs to a run, and who is still there.

A census keeps everybody who was ever seen below a process: one whose parent has died belongs to
nobody any more, and is the very one to look for.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    pid: int
    started: int
    """Clock ticks since the machine's start; tells a process from a later one of its number."""
    parent: int
    state: str
    """`Z` is a dead one that nobody has asked about."""
    title: str
    """The command line; Ray's actors write their class there."""


def listed() -> dict[int, Process]:
    """All processes by number."""
    found: dict[int, Process] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(FileNotFoundError, ProcessLookupError):
            stat = (entry / "stat").read_text()
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state, parent, *rest = stat.rpartition(")")[2].split()
            found[int(entry.name)] = Process(
                pid=int(entry.name),
                started=int(rest[17]),
                parent=int(parent),
                state=state,
                title=title.strip(),
            )
    return found


def below(pids: Iterable[int], *, among: dict[int, Process]) -> list[Process]:
    """The descendants of `pids`."""
    children: dict[int, list[Process]] = {}
    for process in among.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    waiting = list(pids)
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child.pid)
    return found


class Census:
    """Everybody below some processes, from when they were first looked for."""

    def __init__(self) -> None:
        self._known: dict[int, Process] = {}

    def count(self, pid: int) -> list[Process]:
        """Take in all below `pid`, and those below them; returns who of `pid`'s is there now."""
        now = listed()
        alive = [known for known in self._known.values() if _is_same(known, now.get(known.pid))]
        found = below([pid], among=now)
        for process in [*found, *below([known.pid for known in alive], among=now)]:
            self._known[process.pid] = process
        return found

    def left(self) -> list[Process]:
        """Who of all that were seen still runs."""
        now = listed()
        return [
            now[known.pid]
            for known in self._known.values()
            if _is_same(known, now.get(known.pid)) and now[known.pid].state != "Z"
        ]

    def left_after(self, seconds: float) -> list[Process]:
        """As `left`, but they are given `seconds` to end."""
        deadline = time.monotonic() + seconds
        while (found := self.left()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def kill(self) -> None:
        """End whoever is left."""
        send(signal.SIGKILL, pids=[process.pid for process in self.left()])


def send(signum: signal.Signals, *, pids: Iterable[int]) -> None:
    """Send a signal to all at once; who has gone already is passed over."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


def _is_same(known: Process, now: Process | None) -> bool:
    return now is not None and now.started == known.started
