"""Weight averaging: after an update, go only as far from the old weights as pays on old and new.

The candidate is `(1 - alpha) * old + alpha * new`, with the alpha of a small grid whose loss is
lowest on replayed and fresh samples that were kept out of this update's training. Of a model with
an adapter its two factors are mixed, not their product: between the ends that is another path.
Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT, 2022), arXiv 2109.01903.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dyna.seeding import generator
from dyna.training.weights import put_weights
from dyna.types import Metrics, TrainingSample
from worldmodels.regularizers.losses import mean_loss
from worldmodels.regularizers.memory import Tensors, num_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from dyna.protocols import ModelUpdate


class WeightAveraging:
    """`alphas` are the shares of the new weights that are tried; nothing is kept between updates.

    `held_share` of the replayed and of the fresh samples are for the choice alone, and their two
    mean losses are weighed by `replayed_weight` and 1 - `replayed_weight`. Without replayed samples
    there is no past to choose by, and the new weights stay.
    """

    def __init__(
        self,
        *,
        alphas: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
        held_share: float = 0.2,
        replayed_weight: float = 0.5,
    ) -> None:
        if not alphas or not all(0.0 <= alpha <= 1.0 for alpha in alphas):
            raise ValueError(
                f"averaging alphas must be one or more numbers in [0, 1], got {list(alphas)}"
            )
        if not 0.0 < held_share < 1.0:
            raise ValueError(f"averaging held_share must be in (0, 1), got {held_share}")
        if not 0.0 <= replayed_weight <= 1.0:
            raise ValueError(f"averaging replayed_weight must be in [0, 1], got {replayed_weight}")
        self._alphas = tuple(alphas)
        self._held_share = held_share
        self._replayed_weight = replayed_weight
        self._old: Tensors = {}
        self._held: dict[str, tuple[TrainingSample, ...]] = {}

    @property
    def num_bytes(self) -> int:
        """Of the old weights, during the update."""
        return num_bytes(self._old)

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        self._old, self._held = {}, {}
        # Of one sample nothing would be left to train on.
        fewest = min(len(set(update.replayed)), len(set(update.fresh)))
        if not update.number or fewest < 2:
            return update
        self._old = update.trainer.weights()
        replayed, self._held["replayed"] = self._split(update.replayed, seed=update.seed)
        fresh, self._held["fresh"] = self._split(update.fresh, seed=update.seed)
        return replace(update, replayed=replayed, fresh=fresh)

    def end(self, update: ModelUpdate) -> Metrics:
        if not self._old:
            return {}
        new = update.trainer.weights()
        losses: dict[float, float] = {}
        for alpha in self._alphas:
            put_weights(update.trainer.model, mixed(self._old, new=new, alpha=alpha))
            losses[alpha] = self._loss(update)
        # The first of equals is the one that moves least.
        best = min(sorted(losses), key=losses.__getitem__)
        put_weights(update.trainer.model, new)
        if best < 1.0:
            update.trainer.load_weights(mixed(self._old, new=new, alpha=best))
        self._old, self._held = {}, {}
        return {"model/averaging_alpha": best, "model/averaging_loss": losses[best]}

    def _loss(self, update: ModelUpdate) -> float:
        model = update.trainer.model
        old = mean_loss(model, self._held["replayed"])
        new = mean_loss(model, self._held["fresh"])
        return self._replayed_weight * old + (1.0 - self._replayed_weight) * new

    def _split(
        self, samples: Sequence[TrainingSample], *, seed: int
    ) -> tuple[tuple[TrainingSample, ...], tuple[TrainingSample, ...]]:
        """To train on, and held; a sample that was drawn twice is all on one side."""
        distinct = list(dict.fromkeys(sample.token_ids for sample in samples))
        order = generator(seed, "averaging").permutation(len(distinct))
        num_held = max(1, round(self._held_share * len(distinct)))
        held = {distinct[place] for place in order[:num_held]}
        return (
            tuple(sample for sample in samples if sample.token_ids not in held),
            tuple(sample for sample in samples if sample.token_ids in held),
        )


def mixed(old: Mapping[str, Tensor], *, new: Mapping[str, Tensor], alpha: float) -> Tensors:
    """`(1 - alpha) * old + alpha * new`, exactly either at an end; what is no number stays new."""
    if alpha in (0.0, 1.0):
        return dict(new if alpha else old)
    return {
        name: old[name].lerp(tensor, alpha) if tensor.is_floating_point() else tensor
        for name, tensor in new.items()
    }
