"""A world that misbehaves on command: it dies, hangs, leaks, or leaves children behind."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from dyna.types import Action, Outcome, Start, StopReason, Task


class WildWorld:
    def __init__(self, *, greeting: str = "hello") -> None:
        self.greeting = greeting

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        if split != "train":
            raise ValueError(f"split must be train, got {split!r}")
        return [
            Task(id=f"wild/{index}", world="wild", family="wild", split=split, seed=index)
            for index in range(offset, offset + num)
        ]

    def make(self) -> WildEnv:
        return WildEnv(self.greeting)


class WildEnv:
    def __init__(self, greeting: str) -> None:
        self._greeting = greeting
        self._hoard: list[bytearray] = []

    async def reset(self, task: Task) -> Start:
        return Start(observation=f"{self._greeting} from {os.getpid()}")

    async def step(self, action: Action) -> Outcome:
        return Outcome(observation=self._do(action.command), stop=self._stop(action.command))

    def _stop(self, command: str) -> StopReason | None:
        return StopReason.STEP_LIMIT if command == "end" else None

    def _do(self, command: str) -> str:
        match command:
            case "segfault":
                sys.stderr.write("about to fall\n")
                ctypes.string_at(0)
            case "hang":
                time.sleep(600)
            case "hang every thread":
                ctypes.PyDLL(None).sleep(600)  # holds the lock that Python's threads share
            case "leak":
                self._hoard.append(bytearray(os.urandom(1)) * (40 * 2**20))
            case "hoard":
                while True:
                    self._hoard.append(bytearray(os.urandom(1)) * (40 * 2**20))
            case "exit":
                os._exit(3)
            case "raise":
                raise KeyError("no such door")
            case "print":
                print("x" * 100_000)  # noqa: T201
            case "bear":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                return str(child.pid)
            case _:
                return f"{command}?"
        return f"you {command}"

    async def close(self) -> None:
        return
