"""One session of our server: an OpenEnv `Environment` around one env. Needs the extra."""
# pyright: reportMissingImports=false, reportMissingTypeStubs=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownMemberType=false, reportUntypedBaseClass=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false

from __future__ import annotations

import asyncio
import logging
from typing import Any

from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import EnvironmentMetadata, State

from dyna.envs.openenv.messages import CommandAction, TextObservation
from dyna.envs.openenv.serving import Serving
from dyna.protocols import Env
from dyna.types import Action, Outcome, Start, Task

_log = logging.getLogger(__name__)


class WorldEnvironment(Environment[CommandAction, TextObservation, State]):
    """Plays tasks of the served world, one at a time.

    It answers on the server's own event loop, so that many sessions share one engine; a world that
    blocks is put into threads or processes by `Serving.make`. The env is made at the first reset:
    OpenEnv makes environments only to ask them for their name.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, serving: Serving) -> None:
        super().__init__()
        self._serving = serving
        self._env: Env | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: Task | None = None
        self._num_steps = 0
        self._over = True

    async def reset_async(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        split: str = "",
        task_id: str = "",
        **_: Any,
    ) -> TextObservation:
        """`seed` is the place of the task in the split, counted round; without one the tasks come
        in turn. `task_id` asks for one task. Raises `ValueError` for what the world has not."""
        serving = self._serving
        task = serving.choose(seed=seed, split=split, task_id=task_id)
        self._loop = asyncio.get_running_loop()
        self._env = self._env or serving.make()
        self._over = True
        start = await self._in_time(self._env.reset(task), doing=f"reset of {task.id!r}")
        self._task, self._num_steps, self._over = task, 0, False
        return self._first(start, task=task)

    async def step_async(
        self, action: CommandAction, timeout_s: float | None = None, **_: Any
    ) -> TextObservation:
        env, task = self._env, self._task
        if env is None or task is None or self._over:
            raise RuntimeError("this episode is over or never began; reset before the next step")
        answer = env.step(Action(command=action.command))
        outcome = await self._in_time(answer, doing=f"step of {task.id!r}")
        self._num_steps += 1
        self._over = outcome.stop is not None
        return self._later(outcome, task=task)

    def reset(self, *_: Any, **__: Any) -> TextObservation:
        raise RuntimeError("this environment is asynchronous: call reset_async")

    def step(self, *_: Any, **__: Any) -> TextObservation:
        raise RuntimeError("this environment is asynchronous: call step_async")

    @property
    def state(self) -> State:
        task_id = self._task.id if self._task else None
        return State(episode_id=task_id, step_count=self._num_steps)

    def get_metadata(self) -> EnvironmentMetadata:
        serving = self._serving
        splits = ", ".join(f"{split} ({num} tasks)" for split, num in serving.splits.items())
        return EnvironmentMetadata(
            name=serving.name,
            description=f"{serving.name}, {serving.source}, in text; splits: {splits}",
        )

    def close(self) -> None:
        """OpenEnv calls this from any thread; the env is closed on the loop that it ran on."""
        env, self._env, self._over = self._env, None, True
        loop = self._loop
        if env is not None and loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._serving.close_later, env)

    async def _in_time(self, call: Any, *, doing: str) -> Any:
        """Raises `TimeoutError`; the env is given up then, and the next reset makes another."""
        limit = self._serving.step_timeout_s
        try:
            return await asyncio.wait_for(call, limit)
        except TimeoutError:
            _log.warning("%s took more than %g s and was given up", doing, limit)
            self.close()
            raise TimeoutError(f"the {doing} took more than {limit:g} s") from None

    def _first(self, start: Start, *, task: Task) -> TextObservation:
        serving = self._serving
        return TextObservation(
            text=start.observation,
            admissible=None if start.admissible is None else list(start.admissible),
            hidden_state=start.hidden_state if serving.hidden_state else None,
            task_id=task.id,
            family=task.family,
            source=serving.source.value,
        )

    def _later(self, outcome: Outcome, *, task: Task) -> TextObservation:
        return TextObservation(
            text=outcome.observation,
            reward=outcome.reward,
            done=outcome.stop is not None,
            admissible=None if outcome.admissible is None else list(outcome.admissible),
            success=outcome.success,
            terminated=outcome.terminated,
            stop=outcome.stop.value if outcome.stop else None,
            valid=outcome.valid,
            confidence=outcome.confidence,
            task_id=task.id,
            family=task.family,
            source=self._serving.source.value,
        )


__all__ = ["WorldEnvironment"]
