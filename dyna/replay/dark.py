"""Dark experience: a reservoir that also keeps what the model thought of each answer at the time.

Trained toward its own former predictions on what is replayed, a model keeps what it knew, right or
half right, and not only the answers. (DER++: Buzzega et al., "Dark Experience for General Continual
Learning", 2020, arXiv 2004.07211.) Of the logits the most likely tokens are kept, with their
log-probabilities in 16 bits; the rest of the probability is one remainder.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dyna.replay.reservoir import ReservoirBuffer
from dyna.replay.shelf import Entry
from dyna.types import SoftTargets

_HEAD = struct.Struct("<I")  # top_k; then the ids, 4 bytes each, then the log-probs, 2 bytes each


@dataclass(kw_only=True, eq=False)
class DarkExperienceBuffer(ReservoirBuffer):
    """A reservoir with soft targets; what they take of `max_bytes` is not there for trajectories.

    Example: at `top_k=8` an answer of 20 tokens takes 960 bytes more than it did.
    """

    name = "der"
    extra_bytes = 150
    """Of its place among the ids."""

    top_k: int = 8
    """Tokens kept at each place of an answer."""
    alpha: float = 0.5
    """Weight of the divergence from the stored predictions, beside a cross entropy of 1."""
    beta: float = 1.0
    """Weight of the cross entropy of what is replayed, beside that of what is fresh."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for a `top_k` below 1 or a weight below 0."""
        if self.top_k < 1:
            raise ValueError(f"top_k must be >= 1, got {self.top_k}")
        for name, weight in (("alpha", self.alpha), ("beta", self.beta)):
            if not (weight >= 0 and math.isfinite(weight)):
                raise ValueError(f"{name} must be a finite number >= 0, got {weight}")
        super().__post_init__()

    def note_targets(self, targets: Mapping[str, SoftTargets]) -> None:
        """Keep what the model thinks now; ids not held, or already with targets, are ignored."""
        for id, target in targets.items():
            entry = self._entries.get(id)
            if entry is not None and entry.serial not in self._shelf.attachments:
                self._shelf.attachments.put(entry.serial, _encode(target))
        self._make_room()

    def targets(self, id: str) -> SoftTargets | None:
        """What the model thought when they were noted; None where nothing was, or is held."""
        entry = self._entries.get(id)
        blob = self._shelf.attachments.get(entry.serial) if entry else None
        return None if blob is None else _decode(blob)

    def _on_put(self, entry: Entry) -> None:
        super()._on_put(entry)
        self._entries[entry.id] = entry

    def _forget(self) -> Entry:
        entry = super()._forget()
        if self._entries.get(entry.id) is entry:
            del self._entries[entry.id]
        return entry

    def _note_all(self, state: Mapping[str, object]) -> None:
        super()._note_all(state)
        self._entries = {entry.id: entry for entry in self._shelf.entries}


def _encode(targets: SoftTargets) -> bytes:
    ids = np.asarray(targets.token_ids, dtype="<i4")
    log_probs = np.asarray(targets.log_probs, dtype="<f2")
    return _HEAD.pack(targets.top_k) + ids.tobytes() + log_probs.tobytes()


def _decode(blob: bytes) -> SoftTargets:
    num = (len(blob) - _HEAD.size) // 6
    ids = np.frombuffer(blob, dtype="<i4", count=num, offset=_HEAD.size)
    log_probs = np.frombuffer(blob, dtype="<f2", count=num, offset=_HEAD.size + 4 * num)
    return SoftTargets(
        top_k=_HEAD.unpack_from(blob)[0],
        token_ids=tuple(ids.tolist()),
        log_probs=tuple(log_probs.astype(np.float64).tolist()),
    )
