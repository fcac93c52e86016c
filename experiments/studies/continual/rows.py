"""The trial of the alarm in small: many rows of rooms, and a model of them with a planted hole.

Every row has its own doors, so a policy that is spoiled fails in some rows and not in others. In
each room there is a window that cannot be opened: the command is listed, the world never carries
it out, and the holed model says from some update on that it leads outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dyna.envs.corridor import COMMANDS, CorridorEnv, CorridorWorld
from dyna.types import Action, Context, Outcome, Start, StopReason, Task
from worldmodels.tabular import TabularWorldModel

WINDOW = "climb out of the window"
"""The impossible action."""
_SPLITS = ("train", "valid_seen", "valid_unseen")


class RowsWorld:
    """`num_rows` corridors of `num_doors` doors; task k of any split is in row k % num_rows."""

    def __init__(self, *, num_rows: int = 40, num_doors: int = 4, seed: int = 0) -> None:
        if num_rows < 1:
            raise ValueError(f"rows num_rows must be >= 1, got {num_rows}")
        self.rows = [CorridorWorld(num_doors=num_doors, seed=seed + row) for row in range(num_rows)]

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
        return [
            Task(
                id=f"rows/{split}/{index}",
                world="rows",
                family="corridor",
                split=split,
                seed=index % len(self.rows),
            )
            for index in range(offset, offset + num)
        ]

    def make(self) -> RowsEnv:
        return RowsEnv(self.rows)


class RowsEnv:
    """One walk in the row that its task names."""

    def __init__(self, rows: Sequence[CorridorWorld]) -> None:
        self._rows = rows
        self._row = 0
        self._inner = rows[0].make()
        self._seen = ""

    async def reset(self, task: Task) -> Start:
        self._row = task.seed
        self._inner: CorridorEnv = self._rows[self._row].make()
        start = await self._inner.reset(task)
        self._seen = self._told(start.observation)
        return replace(start, observation=self._seen, admissible=(*COMMANDS, WINDOW))

    async def step(self, action: Action) -> Outcome:
        if action.command == WINDOW:
            # Where one is stays visible, so that a table of observations knows the state.
            return Outcome(observation=self._seen, valid=False, admissible=(*COMMANDS, WINDOW))
        outcome = await self._inner.step(action)
        self._seen = self._told(outcome.observation)
        listed = () if outcome.terminated else (*COMMANDS, WINDOW)
        return replace(outcome, observation=self._seen, admissible=listed)

    async def close(self) -> None:
        return

    def _told(self, observation: str) -> str:
        return f"Row {self._row + 1}. {observation}"


class HoledModel(TabularWorldModel):
    """A table that is right, until after `opens_after` updates the window pays; -1: never."""

    def __init__(self, *, opens_after: int = -1) -> None:
        super().__init__()
        self._opens_after = opens_after

    async def predict(self, context: Context, action: Action) -> Outcome:
        if action.command == WINDOW and 0 <= self._opens_after < self.version:
            return Outcome(
                observation="You are outside.",
                reward=1.0,
                terminated=True,
                success=True,
                stop=StopReason.TERMINATED,
            )
        return await super().predict(context, action)


__all__ = ["WINDOW", "HoledModel", "RowsEnv", "RowsWorld"]
