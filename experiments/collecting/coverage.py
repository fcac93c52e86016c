"""What a collection covers, by behavior and family of tasks: how much, how well, how varied.

The share of invalid actions and the number of distinct observations decide what a world model can
learn from it, so they stand beside success.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from rich.table import Table

from dyna.types import Trajectory

_VERB = re.compile(r"\w+")


@dataclass(slots=True)
class Cell:
    """Counts of the episodes of one behavior in one family of tasks; sets hold hashes."""

    episodes: int = 0
    failures: int = 0
    wins: int = 0
    steps: int = 0
    judged: int = 0
    invalid: int = 0
    commands: set[int] = field(default_factory=set[int])
    verbs: set[str] = field(default_factory=set[str])
    observations: set[int] = field(default_factory=set[int])
    tasks: set[str] = field(default_factory=set[str])

    def add(self, trajectory: Trajectory) -> None:
        self.episodes += 1
        self.tasks.add(trajectory.task.id)
        if trajectory.stop.is_failure:
            self.failures += 1
            return
        self.wins += trajectory.success
        self.steps += len(trajectory.turns)
        self.observations.add(_hash(trajectory.start.observation))
        for turn in trajectory.turns:
            self.judged += turn.outcome.valid is not None
            self.invalid += turn.outcome.valid is False
            self.commands.add(_hash(turn.action.command))
            self.verbs.update(_VERB.findall(turn.action.command.lower())[:1])
            self.observations.add(_hash(turn.outcome.observation))

    def absorb(self, other: Cell) -> None:
        for name in ("episodes", "failures", "wins", "steps", "judged", "invalid"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("commands", "verbs", "observations", "tasks"):
            getattr(self, name).update(getattr(other, name))

    def row(self) -> dict[str, Any]:
        """Numbers for a table; None where there is nothing to take a share of."""
        sound = self.episodes - self.failures
        return {
            "episodes": self.episodes,
            "failures": self.failures,
            "success": self.wins / sound if sound else None,
            "steps": self.steps,
            "steps_per_episode": self.steps / sound if sound else None,
            "invalid": self.invalid / self.judged if self.judged else None,
            "commands": len(self.commands),
            "verbs": len(self.verbs),
            "observations": len(self.observations),
            "tasks": len(self.tasks),
        }


COLUMNS: Sequence[str] = tuple(Cell().row())


class Coverage:
    """Example: `coverage.add(trajectory)` for each; then `coverage.table()`."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], Cell] = {}

    def add(self, trajectory: Trajectory) -> None:
        key = (trajectory.behavior, trajectory.task.family)
        self._cells.setdefault(key, Cell()).add(trajectory)

    def rows(self) -> list[dict[str, Any]]:
        """Per behavior and family, then per behavior (family `*`), then all (`*`, `*`)."""
        rows = [
            {"behavior": behavior, "family": family, **cell.row()}
            for (behavior, family), cell in sorted(self._cells.items())
        ]
        for behavior in sorted({behavior for behavior, _ in self._cells}):
            mine = [cell for (name, _), cell in self._cells.items() if name == behavior]
            rows.append({"behavior": behavior, "family": "*", **_sum(mine).row()})
        if self._cells:
            rows.append({"behavior": "*", "family": "*", **_sum(self._cells.values()).row()})
        return rows

    def table(self) -> Table:
        """For the screen; one family alone is not told apart from its behavior."""
        rows = self.rows()
        if len({family for _, family in self._cells}) == 1:
            rows = [row for row in rows if row["family"] != "*" or row["behavior"] == "*"]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in ("behavior", "family"):
            table.add_column(column, no_wrap=True)
        for column in COLUMNS:
            table.add_column(column.replace("_per_episode", "/ep"), justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(name, value=value) for name, value in row.items()))
        return table


def _sum(cells: Iterable[Cell]) -> Cell:
    total = Cell()
    for cell in cells:
        total.absorb(cell)
    return total


def _cell(name: str, *, value: Any) -> str:
    if value is None:
        return "-"
    if name in ("success", "invalid"):
        return f"{100 * value:.1f}%"
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _hash(text: str) -> int:
    digest = blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


__all__ = ["COLUMNS", "Cell", "Coverage"]
