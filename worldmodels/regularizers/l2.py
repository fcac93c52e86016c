"""L2 anchor: a spring from every weight to where it was when the previous experience ended.

The plainest guard, and the yardstick of `ewc`: it holds what mattered and what did not alike.
Its form under the name L2-SP is in Li, Grandvalet and Davoine (2018), arXiv 1802.01483.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dyna.files import read_json, write_json
from dyna.training.penalties import Quadratic
from dyna.training.weights import trainable
from dyna.types import Metrics
from worldmodels.regularizers.memory import (
    Tensors,
    num_bytes,
    read_groups,
    trained_copies,
    write_groups,
)

if TYPE_CHECKING:
    from dyna.protocols import ModelUpdate


class L2Anchor:
    """Adds `strength / 2 * |w - w*|^2`. The first experience is learned freely.

    `every_update` moves the anchor at every update, for streams without announced boundaries.
    """

    def __init__(self, *, strength: float = 0.1, every_update: bool = False) -> None:
        if not strength > 0.0:
            raise ValueError(f"l2 strength must be > 0, got {strength}")
        self._strength = strength
        self._every_update = every_update
        self._anchor: Tensors = {}
        self._opens = False

    @property
    def num_bytes(self) -> int:
        return num_bytes(self._anchor)

    def begin_experience(self, name: str) -> None:
        self._opens = True

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        # The live weights of this moment are those that the previous experience ended with.
        if update.number and (self._opens or self._every_update):
            self._anchor = trained_copies(update.trainer.model)
        self._opens = False
        if not self._anchor:
            return update
        return replace(update, penalties=(*update.penalties, self._penalty()))

    def end(self, update: ModelUpdate) -> Metrics:
        return {"model/l2_penalty": self._penalty().value(trainable(update.trainer.model))}

    def _penalty(self) -> Quadratic:
        return Quadratic(strength=self._strength, anchor=self._anchor)

    def save(self, folder: str) -> None:
        write_json(Path(folder) / "l2.json", value={"opens": self._opens})
        write_groups(folder, name="l2", groups={"anchor": self._anchor})

    def load(self, folder: str) -> None:
        self._opens = bool(read_json(Path(folder) / "l2.json")["opens"])
        self._anchor = read_groups(folder, name="l2").get("anchor", {})
