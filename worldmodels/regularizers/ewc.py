"""Online elastic weight consolidation: springs that are stiff where old experience was sensitive.

The stiffness is a running diagonal Fisher information `F = gamma * F + F_new`, the spring's other
end the weights that the previous experience ended with. `F_new` is estimated when the next
experience begins, at those weights, on a few samples kept of the one just learned; by default with
labels drawn from the model itself, which is the Fisher information, not the "empirical" one.
Schwarz et al., "Progress & Compress" (2018), arXiv 1805.06370, after Kirkpatrick et al. (2017).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dyna.files import read_json, write_json
from dyna.seeding import derive_seed, generator
from dyna.training.penalties import Quadratic
from dyna.training.weights import trainable
from dyna.types import Metrics, TrainingSample
from worldmodels.regularizers.fisher import Labels, diagonal_fisher
from worldmodels.regularizers.memory import (
    Tensors,
    num_bytes,
    read_groups,
    trained_copies,
    write_groups,
)

if TYPE_CHECKING:
    from dyna.protocols import ModelUpdate

_NUMBER_BYTES = 8
"""Of a token and of its weight in a kept sample."""


class OnlineEWC:
    """Adds `strength / 2 * sum F * (w - w*)^2`. The first experience is learned freely.

    `normalized` scales each experience's Fisher to a mean of 1 (as the paper does, so that all
    count alike): `strength` then compares with that of `l2`. `labels` are `model` or `true`;
    `num_samples` episodes are kept for the estimate. `every_update` takes each update for an
    experience, for streams without announced boundaries.
    """

    def __init__(
        self,
        *,
        strength: float = 0.1,
        gamma: float = 0.9,
        num_samples: int = 32,
        labels: str = Labels.MODEL.value,
        normalized: bool = True,
        every_update: bool = False,
    ) -> None:
        if not strength > 0.0:
            raise ValueError(f"ewc strength must be > 0, got {strength}")
        if not 0.0 <= gamma <= 1.0:
            raise ValueError(f"ewc gamma must be in [0, 1], got {gamma}")
        if num_samples < 1:
            raise ValueError(f"ewc num_samples must be >= 1, got {num_samples}")
        if labels not in list(Labels):
            raise ValueError(f"ewc labels must be one of {', '.join(Labels)}, got {labels!r}")
        self._strength = strength
        self._gamma = gamma
        self._num_samples = num_samples
        self._labels = Labels(labels)
        self._normalized = normalized
        self._every_update = every_update
        self._fisher: Tensors = {}
        self._anchor: Tensors = {}
        self._samples: list[TrainingSample] = []
        """An even sample of what the running experience has trained on."""
        self._num_seen = 0
        self._before: tuple[list[TrainingSample], int] = ([], 0)
        """The two as they were before the update whose verdict is not known yet."""
        self._opens = False

    @property
    def num_bytes(self) -> int:
        kept = sum(len(s.token_ids) + len(s.ce) for s in self._samples) * _NUMBER_BYTES
        return num_bytes(self._fisher) + num_bytes(self._anchor) + kept

    def begin_experience(self, name: str) -> None:
        self._opens = True

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        if self._samples and (self._opens or self._every_update):
            self._consolidate(update)
        self._opens = False
        self._keep(update)
        if not self._anchor:
            return update
        return replace(update, penalties=(*update.penalties, self._penalty()))

    def end(self, update: ModelUpdate) -> Metrics:
        return {"model/ewc_penalty": self._penalty().value(trainable(update.trainer.model))}

    def note_verdict(self, accepted: bool) -> None:
        if not accepted:
            self._samples, self._num_seen = self._before

    def _consolidate(self, update: ModelUpdate) -> None:
        """The experience is over: what it was sensitive to, where it ended, and no more of it."""
        found = diagonal_fisher(
            update.trainer.model,
            self._samples,
            labels=self._labels,
            seed=derive_seed(update.seed, "fisher"),
        )
        if self._normalized:
            numbers = sum(tensor.numel() for tensor in found.values())
            mean = sum(float(tensor.double().sum()) for tensor in found.values()) / numbers
            found = {name: tensor / max(mean, 1e-30) for name, tensor in found.items()}
        self._fisher = {
            name: self._gamma * self._fisher[name] + new if self._fisher else new
            for name, new in found.items()
        }
        self._anchor = trained_copies(update.trainer.model)
        self._samples, self._num_seen = [], 0

    def _keep(self, update: ModelUpdate) -> None:
        """Reservoir sampling over all updates of the experience."""
        self._before = (list(self._samples), self._num_seen)
        rng = generator(update.seed, "ewc")
        for sample in update.fresh:
            self._num_seen += 1
            if len(self._samples) < self._num_samples:
                self._samples.append(sample)
            elif (place := int(rng.integers(self._num_seen))) < self._num_samples:
                self._samples[place] = sample

    def _penalty(self) -> Quadratic:
        return Quadratic(strength=self._strength, anchor=self._anchor, importance=self._fisher)

    def save(self, folder: str) -> None:
        samples = [{"token_ids": s.token_ids, "ce": s.ce} for s in self._samples]
        state = {"opens": self._opens, "num_seen": self._num_seen, "samples": samples}
        write_json(Path(folder) / "ewc.json", value=state)
        groups = {"fisher": self._fisher, "anchor": self._anchor}
        write_groups(folder, name="ewc", groups=groups)

    def load(self, folder: str) -> None:
        state = read_json(Path(folder) / "ewc.json")
        self._opens, self._num_seen = bool(state["opens"]), int(state["num_seen"])
        self._samples = [
            TrainingSample(token_ids=tuple(kept["token_ids"]), ce=tuple(kept["ce"]))
            for kept in state["samples"]
        ]
        groups = read_groups(folder, name="ewc")
        self._fisher, self._anchor = groups.get("fisher", {}), groups.get("anchor", {})
