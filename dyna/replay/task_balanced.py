"""An equal share for every family of tasks, so that what is rare now is not forgotten.

When room is short, the family that holds the most gives up a trajectory; within a family it is a
reservoir that decides. A family with less experience than its share leaves the rest to others
(max-min fairness). Draws choose a family first, so that each weighs the same in training.
"""

from __future__ import annotations

from collections.abc import Mapping

from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.reservoir import SmallestKeys
from dyna.replay.shelf import Entry, Shelf


class _Family:
    def __init__(self, *, bound: float = 1.0) -> None:
        self.shelf = Shelf()
        self.kept = SmallestKeys(bound=bound)

    def put(self, entry: Entry) -> None:
        self.shelf.put(entry)
        self.kept.put(entry)

    def drop(self) -> Entry:
        entry = self.kept.drop()
        self.shelf.take(entry)
        return entry


class TaskBalancedBuffer(TrajectoryBuffer):
    """Equal shares of transitions (or bytes, if those run out first) per world and task family.

    Example: 100 transitions, families a, b and c with 500, 500 and 10 offered: it holds about
    45, 45 and 10.
    """

    name = "task_balanced"

    @property
    def num_transitions_by_family(self) -> dict[str, int]:
        """Keyed `world/family`."""
        return {kind: family.shelf.num_turns for kind, family in sorted(self._families.items())}

    def _wants(self, kind: str, *, key: float) -> bool:
        return kind not in self._families or key < self._families[kind].kept.bound

    def _on_put(self, entry: Entry) -> None:
        self._families.setdefault(entry.kind, _Family()).put(entry)

    def _forget(self) -> Entry:
        by_turns = self._shelf.num_turns > self.capacity.max_transitions
        largest = max(
            sorted(self._families),
            key=lambda kind: (
                self._families[kind].shelf.num_turns
                if by_turns
                else self._families[kind].shelf.num_bytes
            ),
        )
        return self._families[largest].drop()

    def _draw(self) -> Entry:
        held = [kind for kind in sorted(self._families) if len(self._families[kind].shelf)]
        kind = held[int(self._draws.integers(len(held)))]
        return self._uniform(self._families[kind].shelf.entries)

    def _bounds(self) -> dict[str, float]:
        return {kind: family.kept.bound for kind, family in self._families.items()}

    def _note_all(self, bounds: Mapping[str, float]) -> None:
        self._families = {kind: _Family(bound=bound) for kind, bound in bounds.items()}
        for entry in self._shelf.entries:
            self._families[entry.kind].put(entry)
