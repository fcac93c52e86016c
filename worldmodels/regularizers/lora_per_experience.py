"""An adapter for each experience, and one merged of all that goes live.

Every experience trains its own low-rank adapter; the others are kept as they were. An engine serves
one adapter, so what goes live is their merge: the average of their updates B A, or their sum (task
arithmetic, Ilharco et al. 2023, arXiv 2212.04089), at the rank of one. Each begins at the base
model, or, by default, at what is live: training on and then merging keeps more than merging
strangers (Marczak et al., "MagMax" (2024), arXiv 2407.06322). LoRA: Hu et al., arXiv 2106.09685.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from dyna.files import read_json, write_json
from dyna.training.lora import has_lora
from dyna.types import Metrics
from worldmodels.regularizers.lora_merge import merge_adapters
from worldmodels.regularizers.memory import Tensors, num_bytes, read_groups, write_groups

if TYPE_CHECKING:
    from dyna.protocols import ModelUpdate


class Merge(StrEnum):
    AVERAGE = "average"
    SUM = "sum"


class Begin(StrEnum):
    """Where the adapter of a new experience starts."""

    LIVE = "live"
    BASE = "base"


class LoRAPerExperience:
    """Needs `world_model.model.lora.rank` above 0, and announced experiences.

    `merge` is `average` or `sum`, `start` is `live` or `base`; a sum of adapters that started at
    what was live would count the past again and again, so it needs `start: base`. An adapter is
    kept per experience, for ever: `num_bytes` grows with their number.
    """

    def __init__(self, *, merge: str = Merge.AVERAGE.value, start: str = Begin.LIVE.value) -> None:
        if merge not in list(Merge):
            raise ValueError(f"lora_per_experience merge must be average or sum, got {merge!r}")
        if start not in list(Begin):
            raise ValueError(f"lora_per_experience start must be live or base, got {start!r}")
        if merge == Merge.SUM and start == Begin.LIVE:
            raise ValueError("lora_per_experience merge: sum needs start: base")
        self._merge = Merge(merge)
        self._start = Begin(start)
        self._base: Tensors = {}
        """The adapter that the run began with."""
        self._finished: list[Tensors] = []
        """Of the experiences that are over, oldest first."""
        self._own: Tensors = {}
        """Of the running experience, as of its last update that went live."""
        self._trial: Tensors = {}
        """The same, as of an update whose verdict is not known yet."""
        self._opens = False

    @property
    def num_bytes(self) -> int:
        kept = [self._base, *self._finished, self._own, self._trial]
        return sum(num_bytes(adapter) for adapter in kept)

    def begin_experience(self, name: str) -> None:
        self._opens = True

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        if not has_lora(update.trainer.model):
            raise ValueError(
                "the regularizer lora_per_experience needs a model with an adapter; set "
                "world_model.model.lora.rank above 0"
            )
        if not self._base:
            self._base = update.trainer.weights()
        if self._opens and self._own:
            self._finished.append(self._own)
            self._own = {}
        self._opens = False
        start = self._own
        if not start and self._finished and self._start is Begin.BASE:
            start = self._base
        if start and self._finished:
            update.trainer.load_weights(start)
        return update

    def end(self, update: ModelUpdate) -> Metrics:
        self._trial = update.trainer.weights()
        adapters = [*self._finished, self._trial]
        merged, kept = merge_adapters(adapters, shares=self._shares(adapters))
        if len(adapters) > 1:
            update.trainer.load_weights(merged)
        return {"model/lora_adapters": float(len(adapters)), "model/lora_merge_kept": kept}

    def note_verdict(self, accepted: bool) -> None:
        if accepted:
            self._own = self._trial
        self._trial = {}

    def _shares(self, adapters: Sequence[Tensors]) -> list[float]:
        share = 1.0 / len(adapters) if self._merge is Merge.AVERAGE else 1.0
        return [share] * len(adapters)

    def save(self, folder: str) -> None:
        write_json(Path(folder) / "lora.json", value={"opens": self._opens})
        groups = {f"finished{place}": adapter for place, adapter in enumerate(self._finished)}
        groups |= {"base": self._base, "own": self._own}
        write_groups(folder, name="lora", groups=groups)

    def load(self, folder: str) -> None:
        self._opens = bool(read_json(Path(folder) / "lora.json")["opens"])
        groups = read_groups(folder, name="lora")
        self._base, self._own = groups.get("base", {}), groups.get("own", {})
        places = range(sum(name.startswith("finished") for name in groups))
        self._finished = [groups[f"finished{place}"] for place in places]
        self._trial = {}
