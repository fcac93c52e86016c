"""A row of rooms in words: the smallest world in which planning pays.

In every room one of two doors leads on and the other leads back; which is which follows from the
world's seed, and only walking tells. The reward waits behind the last door. It is the golden test
of the architecture: its optimum is known, and tables can learn it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dyna.seeding import generator
from dyna.types import Action, Outcome, Start, StopReason, Task

COMMANDS = ("go left", "go right")
_SPLITS = ("train", "valid_seen", "valid_unseen")


class CorridorWorld:
    """`num_doors` rooms in a row, the same ones for every task; an episode begins in the first.

    The shortest way takes `num_doors` turns; a random walk takes about `num_doors` squared. A walk
    is cut after `max_turns`.
    """

    def __init__(self, *, num_doors: int = 12, seed: int = 0, max_turns: int = 1000) -> None:
        if num_doors < 1:
            raise ValueError(f"corridor num_doors must be >= 1, got {num_doors}")
        if max_turns < 1:
            raise ValueError(f"corridor max_turns must be >= 1, got {max_turns}")
        self._max_turns = max_turns
        draws: list[int] = generator(seed, "corridor").integers(2, size=num_doors).tolist()
        self.way: tuple[str, ...] = tuple(COMMANDS[draw] for draw in draws)
        """The command that leads on, room by room."""

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        if split not in _SPLITS:
            raise ValueError(f"split must be one of {', '.join(_SPLITS)}, got {split!r}")
        return [
            Task(
                id=f"corridor/{split}/{index}",
                world="corridor",
                family="corridor",
                split=split,
                seed=index,
            )
            for index in range(offset, offset + num)
        ]

    def make(self) -> CorridorEnv:
        return CorridorEnv(self.way, max_turns=self._max_turns)


class CorridorEnv:
    """One walk; `way[k]` is the command that leads on from room k."""

    def __init__(self, way: Sequence[str], *, max_turns: int) -> None:
        self._way = tuple(way)
        self._max_turns = max_turns
        self._room = 0
        self._num_turns = 0

    async def reset(self, task: Task) -> Start:
        self._room = 0
        self._num_turns = 0
        words = ", ".join(command.removeprefix("go ") for command in self._way)
        return Start(
            observation=self._describe(),
            hidden_state=f"The doors that lead on are: {words}.",
            admissible=COMMANDS,
        )

    async def step(self, action: Action) -> Outcome:
        self._num_turns += 1
        is_last = self._num_turns >= self._max_turns
        if action.command not in COMMANDS:
            return Outcome(
                observation="Nothing happens.",
                valid=False,
                stop=StopReason.STEP_LIMIT if is_last else None,
                admissible=COMMANDS,
            )
        leads_on = action.command == self._way[self._room]
        self._room = self._room + 1 if leads_on else max(0, self._room - 1)
        if self._room == len(self._way):
            return Outcome(
                observation="You are outside.",
                reward=1.0,
                terminated=True,
                success=True,
                stop=StopReason.TERMINATED,
                valid=True,
                admissible=(),
            )
        return Outcome(
            observation=self._describe(),
            stop=StopReason.STEP_LIMIT if is_last else None,
            valid=True,
            admissible=COMMANDS,
        )

    async def close(self) -> None:
        return

    def _describe(self) -> str:
        return f"You are in room {self._room + 1}. There is a door left and a door right."


__all__ = ["COMMANDS", "CorridorEnv", "CorridorWorld"]
