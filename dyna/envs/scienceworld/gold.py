"""Solutions by the simulator's own solver, kept on disk: finding one takes up to half a minute.

They are computed in a Java process of their own, so that no episode waits for them, and never in an
agent's env. What is kept is named by all that it depends on.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, cast

from dyna.envs.caching import cache_folder
from dyna.envs.scienceworld.host import JavaHost
from dyna.envs.scienceworld.simulator import Lesson
from dyna.files import DamagedFileError, read_json, write_json

_log = logging.getLogger(__name__)

_RECIPE = "1"
"""Grows when the order in which Java walks its sets changes, which solutions may depend on."""


class GoldPaths:
    """Example: `GoldPaths(host, version="1.2.3").path(lesson)`"""

    def __init__(self, host: JavaHost, *, version: str) -> None:
        self._host = host
        self._version = version
        self._lock = threading.Lock()
        self._paths: dict[Lesson, tuple[str, ...]] = {}

    def path(self, lesson: Lesson) -> tuple[str, ...]:
        """The commands of one solution. A damaged file is made again. Raises `JavaError` if the
        solver fails."""
        with self._lock:
            if lesson not in self._paths:
                self._paths[lesson] = self._read(lesson) or self._solve(lesson)
            return self._paths[lesson]

    def file(self, lesson: Lesson) -> Path:
        world = f"{self._version}-{_RECIPE}"
        simplifications = lesson.simplifications.replace(",", "+") or "plain"
        folder = cache_folder("scienceworld") / "gold" / world / simplifications / lesson.task
        return folder / f"{lesson.variation}.json"

    def _read(self, lesson: Lesson) -> tuple[str, ...] | None:
        path = self.file(lesson)
        if not path.exists():
            return None
        try:
            commands: Any = read_json(path)
        except (DamagedFileError, UnicodeDecodeError) as error:
            _log.warning("%s; solving the task again", error)
            return None
        if not isinstance(commands, list) or not all(
            isinstance(command, str) for command in cast("list[object]", commands)
        ):
            _log.warning("%s does not hold a list of commands; solving the task again", path)
            return None
        return tuple(cast("list[str]", commands))

    def _solve(self, lesson: Lesson) -> tuple[str, ...]:
        seat = self._host.seat()
        try:
            commands = seat.simulator.gold_path(lesson)
        finally:
            seat.give_back()
        path = self.file(lesson)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, value=list(commands))
        return commands


__all__ = ["GoldPaths"]
