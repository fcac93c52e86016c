"""Plug-ins that misbehave, named in configs as `tests.e2e.faulty_parts:Name`."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from dyna.envs.household import HouseholdWorld
from dyna.protocols import Engine, Env
from dyna.rendering import Renderer
from dyna.types import Action, Context, Outcome, Start, Task


class FaultyWorld(HouseholdWorld):
    """The household, but step `at` of every `every`-th train task goes wrong.

    `fault` is `raise`, `nan`, `hang` (blocks its thread), `crash` (kills its process) or empty.
    Resets are written to `log`, one task to a line; `step_s` makes every step slow.
    """

    def __init__(
        self,
        *,
        fault: str = "",
        every: int = 1,
        at: int = 1,
        log: str = "",
        step_s: float = 0.0,
        **params: Any,
    ) -> None:
        super().__init__(**params)
        self.fault = fault
        self.every = every
        self.at = at
        self.log = log
        self.step_s = step_s

    def is_faulty(self, task: Task) -> bool:
        return bool(self.fault) and task.split == "train" and task.seed % self.every == 0

    def make(self) -> Env:  # type: ignore[override]
        return FaultyEnv(super().make(), world=self)


class FaultyEnv:
    def __init__(self, env: Env, *, world: FaultyWorld) -> None:
        self._env = env
        self._world = world
        self._is_faulty = False
        self._num_steps = 0

    async def reset(self, task: Task) -> Start:
        self._is_faulty, self._num_steps = self._world.is_faulty(task), 0
        if self._world.log:
            with Path(self._world.log).open("a") as file:
                file.write(f"{task.id}\n")
        return await self._env.reset(task)

    async def step(self, action: Action) -> Outcome:
        time.sleep(self._world.step_s)
        outcome = await self._env.step(action)
        self._num_steps += 1
        if not self._is_faulty or self._num_steps != self._world.at:
            return outcome
        if self._world.fault == "raise":
            raise OSError("the kettle broke")
        if self._world.fault == "crash":
            os.abort()
        if self._world.fault == "hang":
            time.sleep(3.0)
        return replace(outcome, reward=math.nan, success=True)

    async def close(self) -> None:
        await self._env.close()


class SayingPolicy:
    """Says the same thing whatever it sees; with `raises`, breaks instead."""

    version = 0

    def __init__(self, *, said: str = "", times: int = 1, raises: bool = False) -> None:
        self.said = said * times
        self.raises = raises

    async def act(self, context: Context) -> Action:
        if self.raises:
            raise RuntimeError("no such tool")
        return Action(command=self.said, text=self.said)


class BrokenModel:
    """A world model whose engine has a bug."""

    version = 0

    def __init__(self, *, engine: Engine, renderer: Renderer) -> None:
        self.engine = engine

    async def predict(self, context: Context, action: Action) -> Outcome:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
