"""Real episodes that a world model is judged by and never trained on, of every experience.

Whether an episode is held out follows from its id alone, and so does its rank. Each experience
keeps those of the smallest ranks, a uniform sample of all that it held out; when room is short, the
experience that fills the most gives up one.
"""

from __future__ import annotations

import sys
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dyna.files import read_json, write_json
from dyna.replay.codec import decode, encode
from dyna.replay.parquet import read_trajectories, write_trajectories
from dyna.replay.shelf import kind_of
from dyna.seeding import derive_seed
from dyna.stream import experience_of
from dyna.types import Trajectory

_ENTRY_BYTES = 200
"""Of one `_Kept` and its places in lists, beside its blob."""


def experience_name(trajectory: Trajectory) -> str:
    """What it belongs to, as metrics may name it: outside a stream, world and task family."""
    found = experience_of(trajectory.task) or kind_of(trajectory)
    parts = ["_".join(part.split()) for part in found.split("/")]
    return "/".join(part for part in parts if part) or "unnamed"


@dataclass(frozen=True, slots=True, order=True)
class _Kept:
    rank: float
    id: str
    blob: bytes = field(compare=False)

    @property
    def num_bytes(self) -> int:
        return sys.getsizeof(self.blob) + sys.getsizeof(self.id) + _ENTRY_BYTES


class HeldOutMemory:
    """At most `max_bytes` of episodes, in equal shares; an experience with less leaves the rest.

    `fraction` is the share of all episodes that belong here. Raises `ValueError` for one that is
    not in [0, 1).
    """

    def __init__(self, *, fraction: float, max_bytes: int, seed: int) -> None:
        if not 0.0 <= fraction < 1.0:
            raise ValueError(
                f"world_model_learner.gate.holdout_fraction must be in [0, 1), got {fraction}"
            )
        self._fraction = fraction
        self._max_bytes = max_bytes
        self._seed = seed
        self._kept: dict[str, list[_Kept]] = {}
        """By experience, in order of rank."""
        self._bounds: dict[str, float] = {}
        """The smallest rank each has given up: what lies above never enters, though there be room,
        or short and late episodes would fill the gaps."""

    def __len__(self) -> int:
        """Episodes held."""
        return sum(map(len, self._kept.values()))

    @property
    def num_bytes(self) -> int:
        return sum(self._bytes_of(name) for name in self._kept)

    @property
    def experiences(self) -> dict[str, int]:
        """Episodes held of each."""
        return {name: len(kept) for name, kept in sorted(self._kept.items()) if kept}

    def belongs(self, trajectory: Trajectory) -> bool:
        """Whether the episode is held out, now and for ever."""
        return self._rank(trajectory) < self._fraction

    def add(self, trajectories: Sequence[Trajectory]) -> None:
        """Those already held are not held twice."""
        for trajectory in trajectories:
            name, rank = experience_name(trajectory), self._rank(trajectory)
            entry = _Kept(rank, trajectory.id, encode(trajectory))
            kept = self._kept.setdefault(name, [])
            if rank < self._bounds.get(name, 1.0) and entry not in kept:
                insort(kept, entry)
        while self.num_bytes > self._max_bytes:
            largest = max(sorted(self._kept), key=self._bytes_of)
            self._bounds[largest] = self._kept[largest].pop().rank

    def retire(self, experience: str) -> None:
        """Forget what is held of an experience whose world has changed: it is true no more."""
        self._kept.pop(experience, None)
        self._bounds.pop(experience, None)

    def trajectories(self) -> list[Trajectory]:
        """In an order that follows from what is held."""
        return [decode(entry.blob) for name in sorted(self._kept) for entry in self._kept[name]]

    def _bytes_of(self, name: str) -> int:
        return sum(entry.num_bytes for entry in self._kept[name])

    def _rank(self, trajectory: Trajectory) -> float:
        """Uniform in [0, 1), from the seed and the episode's id alone."""
        return derive_seed(self._seed, "holdout", trajectory.id) / 2**63

    def save(self, folder: str) -> None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        write_trajectories(path / "held_out.parquet", self.trajectories())
        write_json(path / "held_out.json", value={"bounds": self._bounds})

    def load(self, folder: str) -> None:
        """Raises `FileNotFoundError` or `ValueError` naming what is missing or damaged."""
        path = Path(folder)
        state: dict[str, Any] = read_json(path / "held_out.json")
        self._kept, self._bounds = {}, {}
        self.add(read_trajectories(path / "held_out.parquet"))
        self._bounds = dict(state["bounds"])


__all__ = ["HeldOutMemory", "experience_name"]
