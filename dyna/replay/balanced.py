"""An equal share for every kind of experience, so that what is rare now is not forgotten.

When room is short, the kind that holds the most gives up a trajectory; within a kind it is a
reservoir that decides. A kind with less experience than its share leaves the rest to others
(max-min fairness). Draws choose a kind first, so that each weighs the same in training. (The
exemplar buffers of Chaudhry et al., "On Tiny Episodic Memories in Continual Learning", 2019,
arXiv 1902.10486; Avalanche's ClassBalancedBuffer and ExperienceBalancedBuffer.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.reservoir import SmallestKeys
from dyna.replay.shelf import Entry, Shelf
from dyna.types import Trajectory


class _Kind:
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


class _BalancedBuffer(TrajectoryBuffer):
    """Equal shares of transitions (or bytes, if those run out first) per kind."""

    @property
    def num_transitions_by_kind(self) -> dict[str, int]:
        return {name: kind.shelf.num_turns for name, kind in sorted(self._kinds.items())}

    def _wants(self, kind: str, *, key: float) -> bool:
        return kind not in self._kinds or key < self._kinds[kind].kept.bound

    def _on_put(self, entry: Entry) -> None:
        self._kinds.setdefault(entry.kind, _Kind()).put(entry)

    def _forget(self) -> Entry:
        by_turns = self._shelf.num_turns > self.capacity.max_transitions
        largest = max(
            sorted(self._kinds),
            key=lambda name: (
                self._kinds[name].shelf.num_turns if by_turns else self._kinds[name].shelf.num_bytes
            ),
        )
        return self._kinds[largest].drop()

    def _draw(self) -> Entry:
        held = [name for name in sorted(self._kinds) if len(self._kinds[name].shelf)]
        name = held[int(self._draws.integers(len(held)))]
        return self._uniform(self._kinds[name].shelf.entries)

    def _state(self) -> dict[str, Any]:
        return {"bounds": {name: kind.kept.bound for name, kind in self._kinds.items()}}

    def _note_all(self, state: Mapping[str, Any]) -> None:
        bounds: Mapping[str, float] = state.get("bounds", {})
        self._kinds = {name: _Kind(bound=bound) for name, bound in bounds.items()}
        for entry in self._shelf.entries:
            self._kinds[entry.kind].put(entry)


class TaskBalancedBuffer(_BalancedBuffer):
    """Equal shares per world and task family, whenever their episodes came.

    Example: 100 transitions, families a, b and c with 500, 500 and 10 offered: it holds about
    45, 45 and 10.
    """

    name = "task_balanced"


class ExperienceBalancedBuffer(_BalancedBuffer):
    """Equal shares per experience of a stream, as they are announced by `begin_experience`.

    Example: after `begin_experience("day 2")` what comes shares the room half and half with all
    that came before. Where nobody announces anything it is a reservoir.
    """

    name = "experience_balanced"

    def begin_experience(self, name: str) -> None:
        """From now on what comes belongs to `name`, which may have been begun before."""
        self._experience = name

    def _kind(self, trajectory: Trajectory) -> str:
        return self._experience

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"experience": self._experience}

    def _note_all(self, state: Mapping[str, Any]) -> None:
        super()._note_all(state)
        self._experience = str(state.get("experience", ""))
