"""The games of one kind in Java: make one by seed, play it, and know it by what is in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dyna.envs.jvm import Jvm

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
        runtime = jvm.classes.textworldexpress.runtime
        self._interface: Any = jvm.call(runtime.PythonInterface, doing="making an interface")
        problem = jvm.call(lambda: self._interface.load(game, params), doing="loading a game")
        if problem:
            raise ValueError(f"textworld_express game {game!r} with params {params!r}: {problem}")

    def generate(self, seed: int, *, fold: str, gold: bool = False) -> Answer:
        return self._jvm.call(
            lambda: self._read(self._interface.generateNewGameJSON(seed, fold, gold)),
            doing="making a game",
        )

    def step(self, command: str) -> Answer:
        """What no game can know, such as other scripts, is not sent: a `?` gets the answer."""
        sane = len(command) <= MAX_COMMAND and command.isascii() and command.isprintable()
        sent = command if sane else "?"
        return self._jvm.call(
            lambda: self._read(self._interface.stepJSON(sent)), doing="taking a step"
        )

    def inspect(self, seed: int, *, fold: str) -> Inspection:
        """Make a game and play its gold path."""
        answer = self.generate(seed, fold=fold, gold=True)
        path = self._jvm.call(
            lambda: list(self._interface.getGoldActionSequence()), doing="solving a game"
        )
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
        """Let Java forget the machine; it would keep it for ever."""
        if self._jvm.alive:
            self._jvm.drop(self._interface)

    def _read(self, text: str) -> Answer:
        read = json.loads(text)
        task = str(self._interface.getTaskDescription())
        return Answer(
            observation=str(read["observation"]).strip(),
            task=task.strip(),
            admissible=tuple(sorted(set(map(str, read["validActions"])))),
            score=float(read["score"]),
            won=bool(read["tasksuccess"]),
            lost=bool(read["taskfailure"]),
        )


__all__ = ["Answer", "Inspection", "Machine"]
