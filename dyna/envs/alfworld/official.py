"""ALFWorld's own engine, as the reference: the same tasks, slower by a factor of some hundreds.

The engine copies a planner of 34 MB for every environment that is made, and is not safe to use from
two threads. So a process has one, and whichever episode uses it next loads its game and plays its
own commands again; one episode at a time costs nothing extra. The engine comes with its own rules
and sentences; of the data, only the problem and the task's words reach it.
"""

# The real engine is an extra, and without types.
# pyright: reportMissingImports=false, reportMissingTypeStubs=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeArgument=false

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

from dyna.envs.household.env import BANNER
from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.tables import HELP

_GOAL = "UNKNOWN GOAL"
"""What ALFWorld's grammar says where the task's words belong."""


class OfficialEngine:
    """One game of the real engine at a time.

    Takes 1 s to load an official game, 1 s to reset it and 60 ms a step, on one core.
    """

    def __init__(self) -> None:
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
        from alfworld.info import ALFRED_PDDL_PATH, ALFRED_TWL2_PATH
        from textworld.core import EnvInfos
        from textworld.envs import PddlEnv

        infos = EnvInfos(admissible_commands=True, won=True)
        self._env: Any = AlfredDemangler(PddlEnv(infos), shuffle=False)
        self._domain = Path(ALFRED_PDDL_PATH).read_text(encoding="utf-8")
        self._grammar = Path(ALFRED_TWL2_PATH).read_text(encoding="utf-8")
        self._loaded = ""
        self._commands: dict[str, str] = {}
        """What the engine expects, by what the agent says."""
        self.won = False
        """Whether the goal holds now."""

    def load(self, problem: str, *, task: str) -> str:
        """Begin a game: its first observation, task included. `task` has no full stop."""
        if self._loaded != problem:
            self._loaded = ""
            game = {"pddl_domain": self._domain, "grammar": self._grammar, "pddl_problem": problem}
            self._env.load(game)
            self._loaded = problem
        first = self._take(self._env.reset()).removeprefix(BANNER)
        # Put in here, because the grammar would read quotes and brackets as its own.
        return first.replace(_GOAL, task)

    def step(self, command: str) -> tuple[str, bool, bool]:
        """(observation, won, valid)."""
        command = " ".join(command.split())
        raw = self._commands.get(command)
        state, _, _ = self._env.step(command if raw is None else raw)
        return self._take(state), self.won, raw is not None

    def admissible(self) -> list[str]:
        return sorted(self._commands)

    def _take(self, state: Any) -> str:
        self._commands = {" ".join(raw.split()): raw for raw in state.admissible_commands}
        self.won = bool(state.won)
        return clean_text(state.feedback)


def clean_text(text: str) -> str:
    """The engine's words without the blanks of its grammar: doubled, before stops, at the ends."""
    text = text.strip()
    if " ".join(text.split()) == " ".join(HELP.split()):
        return HELP  # a table: its blanks are meant
    return re.sub(r" +(?=[.,]|\n|$)", "", re.sub(r" +", " ", text))


class EngineShare:
    """The process's engine, and which episode's game is in it."""

    def __init__(self) -> None:
        self.lock = RLock()
        self._engine: OfficialEngine | None = None
        self._user: object = None

    def engine(self) -> OfficialEngine:
        if self._engine is None:
            self._engine = OfficialEngine()
        return self._engine

    def is_mine(self, user: object) -> bool:
        return self._user is user

    def claim(self, user: object | None) -> None:
        self._user = user


@cache
def engine_share() -> EngineShare:
    return EngineShare()


class OfficialGame:
    """An episode in the real engine: a `dyna.envs.household.env.Game`.

    `ours` is the same game in our engine, not played, which knows its hidden state and the task's
    words. Blocks for 60 ms a step, and 2 s at a reset.
    """

    def __init__(self, problem: str, *, ours: HouseholdGame) -> None:
        self.ours = ours
        self._problem, self._task = problem, ours.house.goal.text
        self._said: list[str] = []
        self._share = engine_share()
        self.won = False

    def reset(self) -> str:
        with self._share.lock:
            self._said = []
            return self._load()

    def step(self, command: str) -> tuple[str, bool, bool]:
        """(observation, won, valid)."""
        with self._share.lock:
            answer = self._mine().step(command)
            if answer[2]:
                self._said.append(command)
            self.won = answer[1]
            return answer

    def admissible(self) -> list[str]:
        with self._share.lock:
            return self._mine().admissible()

    def _load(self) -> str:
        self._share.claim(None)  # if loading fails, nobody's game is in the engine
        engine = self._share.engine()
        observation = engine.load(self._problem, task=self._task)
        self._share.claim(self)
        self.won = engine.won
        return observation

    def _mine(self) -> OfficialEngine:
        """The engine with this episode in it, as far as it has been played."""
        engine = self._share.engine()
        if not self._share.is_mine(self):
            self._load()
            for command in self._said:
                engine.step(command)
        return engine


__all__ = ["EngineShare", "OfficialEngine", "OfficialGame", "clean_text", "engine_share"]
