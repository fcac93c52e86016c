"""Several regularizers as one: they begin in the order of the config and end in the opposite one.

So the first is the outermost: what it sees before and after is what the others make of the update.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dyna.files import read_json, write_json
from dyna.protocols import HasExperiences, HasVerdicts, ModelUpdate, Regularizer, Stateful
from dyna.types import Metrics


class Regularizers:
    """Any number of them, also none."""

    def __init__(self, regularizers: Sequence[Regularizer]) -> None:
        self._all = tuple(regularizers)

    @property
    def num_bytes(self) -> int:
        return sum(regularizer.num_bytes for regularizer in self._all)

    def begin_experience(self, name: str) -> None:
        for regularizer in self._all:
            if isinstance(regularizer, HasExperiences):
                regularizer.begin_experience(name)

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        for regularizer in self._all:
            update = regularizer.begin(update)
        return update

    def end(self, update: ModelUpdate) -> Metrics:
        if not self._all:
            return {}
        # Before they end: what they hold only while the model is trained counts too.
        metrics = {"model/regularizer_bytes": float(self.num_bytes)}
        for regularizer in reversed(self._all):
            metrics |= regularizer.end(update)
        return metrics

    def note_verdict(self, accepted: bool) -> None:
        for regularizer in self._all:
            if isinstance(regularizer, HasVerdicts):
                regularizer.note_verdict(accepted)

    def save(self, folder: str) -> None:
        """Nothing is written where nothing is kept."""
        if not self._all:
            return
        Path(folder).mkdir(parents=True, exist_ok=True)
        write_json(Path(folder) / "regularizers.json", value=self._names())
        for path, regularizer in self._stateful(folder):
            path.mkdir(exist_ok=True)
            regularizer.save(str(path))

    def load(self, folder: str) -> None:
        """Restore what `save` wrote; raises `ValueError` for a save of other regularizers."""
        if not self._all:
            return
        saved = read_json(Path(folder) / "regularizers.json")
        if saved != self._names():
            raise ValueError(
                f"{folder!r} holds the regularizers {saved}, and the run has {self._names()}; "
                "resume with the world_model_learner.regularizers the run was saved with"
            )
        for path, regularizer in self._stateful(folder):
            regularizer.load(str(path))

    def _stateful(self, folder: str) -> Iterator[tuple[Path, Stateful]]:
        for place, regularizer in enumerate(self._all):
            if isinstance(regularizer, Stateful):
                yield Path(folder) / str(place), regularizer

    def _names(self) -> list[str]:
        return [type(regularizer).__name__ for regularizer in self._all]
