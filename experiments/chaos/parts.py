"""The run under test: a corridor that takes its time, and an algorithm that notes what it is shown.

Named in configs as `experiments.chaos.parts:Name`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from agents.algorithms.grpo import GRPO
from dyna.envs.corridor import CorridorEnv, CorridorWorld
from dyna.replay.parquet import write_trajectories
from dyna.types import Action, Context, Credit, Outcome, Trajectory, TrajectoryGroup


class PacedCorridor(CorridorWorld):
    """The corridor, but a step takes `step_s`, so that a blow can fall in the middle of one.

    Where `hang` is a file, the first step that finds it takes it away and never ends.
    """

    def __init__(
        self, *, num_doors: int, step_s: float = 0.0, hang: str = "", seed: int = 0
    ) -> None:
        super().__init__(num_doors=num_doors, seed=seed)
        self.step_s = step_s
        self.hang = hang

    def make(self) -> PacedEnv:
        return PacedEnv(self.way, max_turns=1000, step_s=self.step_s, hang=self.hang)

    def expert(self, context: Context) -> str:
        return self.way[min(context.length, len(self.way) - 1)]


class PacedEnv(CorridorEnv):
    def __init__(self, way: Sequence[str], *, max_turns: int, step_s: float, hang: str) -> None:
        super().__init__(way, max_turns=max_turns)
        self._step_s = step_s
        self._hang = hang

    async def step(self, action: Action) -> Outcome:
        if self._hang and _taken(Path(self._hang)):
            time.sleep(3600)
        await asyncio.sleep(self._step_s)
        return await super().step(action)


class NotingGRPO:
    """GRPO; every group it gives credit to is kept in `folder`, once however often it is shown."""

    def __init__(self, *, folder: str) -> None:
        self._folder = Path(folder)
        self._grpo = GRPO()

    def __call__(self, groups: Sequence[TrajectoryGroup]) -> list[Credit]:
        self._folder.mkdir(parents=True, exist_ok=True)
        for group in groups:
            first = group.trajectories[0]
            place = self._folder / f"{first.group_id or first.id}.parquet".replace("/", "_")
            write_trajectories(place, _members(group))
        return self._grpo(groups)


def _members(group: TrajectoryGroup) -> list[Trajectory]:
    return sorted(group.trajectories, key=lambda trajectory: trajectory.id)


def _taken(order: Path) -> bool:
    try:
        order.rename(order.with_name(f"{order.name}.done"))
    except FileNotFoundError:
        return False
    return True
