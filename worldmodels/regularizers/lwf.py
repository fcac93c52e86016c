"""Learning without forgetting: an update may not change what the live model says of old turns.

Beside the loss stands the KL divergence to the model as it was before this update (live, and so
through the gate), on the answers of replayed episodes: all of what it held likely, not the one word
that was true. Without any replay it can be asked on the fresh episodes, as the paper does.
Li and Hoiem, "Learning without Forgetting" (2016), arXiv 1606.09282.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dyna.types import Metrics, TrainingSample
from worldmodels.regularizers.memory import bytes_of

if TYPE_CHECKING:
    from dyna.protocols import ModelUpdate


class LearningWithoutForgetting:
    """`weight` stands beside a cross entropy of 1 per token."""

    def __init__(
        self, *, weight: float = 1.0, replayed_ce: bool = True, on_fresh: bool = False
    ) -> None:
        """`replayed_ce` keeps the cross entropy of replayed answers beside their KL, and
        `on_fresh` asks the KL of the fresh answers too."""
        if not weight > 0.0:
            raise ValueError(f"lwf weight must be > 0, got {weight}")
        self._weight = weight
        self._replayed_ce = replayed_ce
        self._on_fresh = on_fresh
        self._reference_bytes = 0

    @property
    def num_bytes(self) -> int:
        """Of the copy of the live weights that the trainer holds during the update."""
        return self._reference_bytes

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        guards = bool(update.replayed) or self._on_fresh
        # Before the first update there is nothing that was learned.
        if not update.number or not guards:
            return update
        update.trainer.freeze_reference()
        self._reference_bytes = bytes_of(update.trainer.model)
        return replace(
            update,
            replayed=self._guarded(update.replayed, keeps_ce=self._replayed_ce),
            fresh=self._guarded(update.fresh, keeps_ce=True) if self._on_fresh else update.fresh,
        )

    def end(self, update: ModelUpdate) -> Metrics:
        if self._reference_bytes:
            update.trainer.drop_reference()
            self._reference_bytes = 0
        num = sum(bool(sample.ref_kl) for sample in (*update.fresh, *update.replayed))
        return {"model/lwf_samples": float(num)}

    def _guarded(
        self, samples: Sequence[TrainingSample], *, keeps_ce: bool
    ) -> tuple[TrainingSample, ...]:
        return tuple(
            replace(
                sample,
                ce=sample.ce if keeps_ce else (),
                ref_kl=tuple(self._weight if ce else 0.0 for ce in sample.ce),
            )
            for sample in samples
        )
