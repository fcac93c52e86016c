"""Keeps trajectories that pull the model in different directions.

A newcomer whose gradient looks like those of what is held has nothing to add, whatever its loss.
(GSS-greedy: Aljundi et al., "Gradient based sample selection for online continual learning", 2019,
arXiv 1903.08671.) A gradient is known only after an update that trained on it; until then a
trajectory waits in a small part of the room. Gradients come as sketches: random projections, in
which angles survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.shelf import Capacity, Entry, Shelf

_NEUTRAL = 1.0
"""Of a cosine of 0: the likeness of the first one chosen."""
_MAX_TRIES = 64


@dataclass(kw_only=True, eq=False)
class GradientBuffer(TrajectoryBuffer):
    """Chooses by likeness, 1 + the largest cosine between a gradient and some of those held.

    Where room is short, a newcomer whose largest cosine is `max_cosine` or more is turned away;
    any other duels with one that was chosen before, drawn in proportion to likeness, and the two
    leave with chances in proportion to theirs. Whoever is replayed is compared anew, so that what
    came first of a crowd does not pass for rare. Draws among all that is held are even. Without
    gradients a newcomer takes the place of any other alike.
    """

    name = "gss"
    extra_bytes = 250
    """Of likeness, id and a second place on a shelf; the sketches are counted as they come."""

    sketch_size: int = 64
    """Numbers in a sketch; each takes 2 bytes."""
    num_compared: int = 10
    """How many of those held a newcomer's gradient is compared with."""
    max_cosine: float = 0.9
    """0 is the paper's. All gradients of a language model have much in common: at 0 nothing would
    ever be let in once the room is full."""
    waiting_share: float = 0.2
    """Share of the room that is left to those whose gradients are not known yet."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for parameters out of their ranges."""
        if self.sketch_size < 1 or self.num_compared < 1:
            raise ValueError(
                f"sketch_size and num_compared must be >= 1, got {self.sketch_size} and "
                f"{self.num_compared}"
            )
        if not -1.0 <= self.max_cosine <= 1.0 or not 0.0 < self.waiting_share < 1.0:
            raise ValueError(
                "max_cosine must lie in [-1, 1] and waiting_share between 0 and 1, got "
                f"{self.max_cosine} and {self.waiting_share}"
            )
        share = 1.0 - self.waiting_share
        self._chosen_room = Capacity(
            max_transitions=max(1, round(share * self.max_transitions)),
            max_bytes=max(1, round(share * self.max_bytes)),
        )
        super().__post_init__()

    def note_gradients(self, sketches: Mapping[str, Sequence[float]]) -> None:
        """Take sketches by trajectory id; ids not held are ignored.

        Raises `ValueError` for a sketch of another size or with a number that is not finite;
        nothing is noted then.
        """
        units = {id: self._unit(id, sketch) for id, sketch in sketches.items()}
        for id, unit in units.items():
            entry = self._entries.get(id)
            if entry is None:
                continue
            is_new = entry.serial not in self._likeness
            self._likeness[entry.serial] = self._likeness_of(unit, entry=entry)
            self._shelf.attachments.put(entry.serial, unit.astype(np.float16).tobytes())
            if is_new:
                self._waiting.take(entry)
                self._chosen.put(entry)
                self._settle(entry)
        self._make_room()

    def likeness(self) -> dict[str, float]:
        """By trajectory id, in [0, 2], of those whose gradients are known."""
        return {entry.id: self._likeness[entry.serial] for entry in self._chosen.entries}

    def _unit(self, id: str, sketch: Sequence[float]) -> NDArray[np.float64]:
        vector = np.asarray(sketch, dtype=np.float64)
        if vector.shape != (self.sketch_size,) or not np.isfinite(vector).all():
            raise ValueError(
                f"the sketch of {id!r} must be {self.sketch_size} finite numbers, got "
                f"{vector.size}: {list(sketch)[:3]}...; sketch_size is the buffer's"
            )
        return vector / max(float(np.linalg.norm(vector)), 1e-300)

    def _likeness_of(self, unit: NDArray[np.float64], *, entry: Entry) -> float:
        held = self._chosen.entries
        if not held:
            return _NEUTRAL
        num = min(self.num_compared, len(held))
        places = self._keys.choice(len(held), size=num, replace=False)
        others = [held[int(place)] for place in places]
        sketches = self._shelf.attachments
        blobs = [sketches.get(other.serial) or b"" for other in others if other is not entry]
        if not blobs:
            return _NEUTRAL
        known = np.frombuffer(b"".join(blobs), dtype=np.float16).reshape(len(blobs), -1)
        return 1.0 + float(np.clip(known.astype(np.float64) @ unit, -1.0, 1.0).max())

    def _settle(self, newcomer: Entry) -> None:
        mine = self._likeness[newcomer.serial]
        while self._chosen_room.exceeded_by(self._chosen):
            rival = self._rival(newcomer)
            other = self._likeness[rival.serial]
            loses = mine >= 1.0 + self.max_cosine or rival is newcomer
            loses = loses or float(self._keys.random()) * (other + mine) >= other
            self._shelf.take(self._leave(newcomer if loses else rival))
            if loses:
                return

    def _rival(self, newcomer: Entry | None = None) -> Entry:
        """One of those chosen, in proportion to likeness; the newcomer only if it is alone."""
        entries = self._chosen.entries
        if entries == [newcomer]:
            return entries[0]
        # Likeness is at most 2, so a draw that is even can be turned down to the right odds.
        for _ in range(_MAX_TRIES):
            entry = entries[int(self._keys.integers(len(entries)))]
            if entry is not newcomer and self._keys.random() * 2.0 < self._likeness[entry.serial]:
                return entry
        others = [other for other in entries if other is not newcomer]
        likeness = [max(self._likeness[other.serial], 1e-12) for other in others]
        weights = np.array(likeness, dtype=np.float64)
        return others[int(self._keys.choice(len(others), p=weights / weights.sum()))]

    def _on_put(self, entry: Entry) -> None:
        self._entries[entry.id] = entry
        self._waiting.put(entry)

    def _forget(self) -> Entry:
        waiting = self._waiting.entries
        if waiting:
            return self._leave(waiting[int(self._keys.integers(len(waiting)))])
        return self._leave(self._rival())

    def _leave(self, entry: Entry) -> Entry:
        is_chosen = self._likeness.pop(entry.serial, None) is not None
        (self._chosen if is_chosen else self._waiting).take(entry)
        if self._entries.get(entry.id) is entry:
            del self._entries[entry.id]
        return entry

    def _state(self) -> dict[str, Any]:
        return {"likeness": [[serial, value] for serial, value in self._likeness.items()]}

    def _note_all(self, state: Mapping[str, Any]) -> None:
        self._likeness: dict[int, float] = {
            int(serial): float(value) for serial, value in state.get("likeness", [])
        }
        self._entries = {entry.id: entry for entry in self._shelf.entries}
        self._waiting, self._chosen = Shelf(), Shelf()
        for entry in self._shelf.entries:
            (self._chosen if entry.serial in self._likeness else self._waiting).put(entry)
