"""The games of one kind in Java: make one by seed, play it, and know it by what is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from importlib import import_module
from threading import RLock
from typing import Any

from dyna.envs.textworld_express.jvm import JavaError, Jvm

MAX_COMMAND = 1000
"""Characters; no command of any game is near as long."""
_UNKNOWN = "Unknown action:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a game says after a reset or a step."""

    observation: str
    task: str
    admissible: tuple[str, ...]
    score: float
    """In [0, 1] where the game is not lost; it may fall."""
    won: bool
    lost: bool

    @property
    def understood(self) -> bool:
        return not self.observation.startswith(_UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a seed's game is, and how it is won."""

    key: str
    """A hash of the goal and of the first scene. Games with equal keys are held to be one game:
    the first scene is all that the package repeats from fold to fold."""
    gold: tuple[str, ...]
    solved: bool


class Machine:
    """One game at a time. Threads may share it only if each holds it through its own episode."""

    def __init__(self, jvm: Jvm, *, game: str, params: str) -> None:
        """Raises `ValueError` for a game or parameters that Java refuses."""
        self._jvm = jvm
        self._lock = RLock()
        self._interface = self._call(jvm.new_interface)
        problem = self._call(lambda: self._interface.load(game, params))
        if problem:
            raise ValueError(f"textworld_express game {game!r} with params {params!r}: {problem}")

    def generate(self, seed: int, *, fold: str, gold: bool = False) -> Answer:
        text = self._call(lambda: self._interface.generateNewGameJSON(seed, fold, gold))
        return self._read(text)

    def step(self, command: str) -> Answer:
        """What no game can know, such as other scripts, is not sent: a `?` gets the answer."""
        sane = len(command) <= MAX_COMMAND and command.isascii() and command.isprintable()
        sent = command if sane else "?"
        return self._read(self._call(lambda: self._interface.stepJSON(sent)))

    def inspect(self, seed: int, *, fold: str) -> Inspection:
        """Make a game and play its gold path."""
        answer = self.generate(seed, fold=fold, gold=True)
        path = self._call(lambda: list(self._interface.getGoldActionSequence()))
        key = json.dumps([answer.task, answer.observation])
        gold: list[str] = []
        for command in map(str, path):
            answer = self.step(command)
            # A gold path may hold commands that its game does not know at that point.
            if answer.understood:
                gold.append(command)
            if answer.won or answer.lost:
                break
        return Inspection(
            key=blake2b(key.encode(), digest_size=16).hexdigest(),
            gold=tuple(gold),
            solved=answer.won,
        )

    def close(self) -> None:
        self._jvm.drop(self._interface)

    def _read(self, text: str) -> Answer:
        read = json.loads(text)
        task = str(self._call(self._interface.getTaskDescription))
        return Answer(
            observation=str(read["observation"]).strip(),
            task=task.strip(),
            admissible=tuple(sorted(set(map(str, read["validActions"])))),
            score=float(read["score"]),
            won=bool(read["tasksuccess"]),
            lost=bool(read["taskfailure"]),
        )

    def _call(self, function: Any) -> Any:
        py4j: Any = import_module("py4j.protocol")
        with self._lock:
            if not self._jvm.alive:
                raise JavaError("textworld_express: its Java process has ended; make a new env")
            try:
                return function()
            except (py4j.Py4JError, OSError) as error:
                raise JavaError(f"textworld_express failed in Java: {error}") from error


__all__ = ["Answer", "Inspection", "Machine"]
