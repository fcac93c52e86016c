"""A world model as a world: real starts, imagined answers.

What `dyna.imagination` plays for training is put behind the same seam as a real world, for those
who play from outside: another trainer over OpenEnv, Gymnasium's tools, a person at a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

from dyna.imagination import NOTHING_HAPPENS, ImaginedEnv
from dyna.protocols import Env, World, WorldModel
from dyna.types import Action, Outcome, Start, StopReason, Task


class ImaginedWorld:
    """The tasks of `world`, played in `model`.

    Every episode asks the real world for its start and for nothing else: one real reset. A dream
    is cut after `horizon` turns (0: never). `min_confidence`, `min_win_confidence`,
    `reward_bounds` and `invalid_observations` are those of `ImaginedEnv`. `make_real` makes the
    real envs where they must be isolated; by default `world.make`.

    Example: `ImaginedWorld(HouseholdWorld(), model=model, horizon=20)`
    """

    def __init__(
        self,
        world: World,
        *,
        model: WorldModel,
        horizon: int = 0,
        min_confidence: float = 0.0,
        min_win_confidence: float = 0.0,
        reward_bounds: tuple[float, float] = (0.0, 1.0),
        invalid_observations: tuple[str, ...] = NOTHING_HAPPENS,
        make_real: Callable[[], Env] | None = None,
    ) -> None:
        if horizon < 0:
            raise ValueError(f"horizon must be >= 0 (0 for no limit), got {horizon}")
        self.world = world
        self.model = model
        self.horizon = horizon
        self.make_real = make_real or world.make
        self._min_confidence = min_confidence
        self._min_win_confidence = min_win_confidence
        self._reward_bounds = reward_bounds
        self._invalid_observations = invalid_observations
        self._dreams = count()

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        return self.world.tasks(split=split, num=num, offset=offset)

    def make(self) -> DreamEnv:
        return DreamEnv(self)

    def dream(self, task: Task, *, start: Start) -> ImaginedEnv:
        """One dream of a task from its real start."""
        return ImaginedEnv(
            self.model,
            start=start,
            min_confidence=self._min_confidence,
            min_win_confidence=self._min_win_confidence,
            reward_bounds=self._reward_bounds,
            invalid_observations=self._invalid_observations,
            episode_id=f"{task.id}/dream{next(self._dreams)}",
            seed=task.seed,
        )


class DreamEnv:
    """One episode at a time of an `ImaginedWorld`."""

    def __init__(self, world: ImaginedWorld) -> None:
        self._world = world
        self._real: Env | None = None
        self._dream: ImaginedEnv | None = None
        self._num_turns = 0

    async def reset(self, task: Task) -> Start:
        self._real = self._real or self._world.make_real()
        start = await self._real.reset(task)
        self._dream = self._world.dream(task, start=start)
        self._num_turns = 0
        return await self._dream.reset(task)

    async def step(self, action: Action) -> Outcome:
        """Raises `RuntimeError` when no episode is running."""
        if self._dream is None:
            raise RuntimeError("the dream has ended or never began; call reset first")
        outcome = await self._dream.step(action)
        self._num_turns += 1
        horizon = self._world.horizon
        if outcome.stop is None and horizon and self._num_turns >= horizon:
            await self._dream.close()
            return replace(outcome, stop=StopReason.HORIZON)
        return outcome

    async def close(self) -> None:
        self._dream = None
        real, self._real = self._real, None
        if real is not None:
            await real.close()


__all__ = ["DreamEnv", "ImaginedWorld"]
