"""Several regularizers nest: the first begins first and ends last."""

from __future__ import annotations

from dyna.protocols import ModelUpdate, Regularizer, Stateful
from dyna.types import Metrics
from tests.unit.worldmodels.regularizers.counting import make_trainer, make_update
from worldmodels.regularizers import Regularizers


class Noting:
    """Notes when it is called."""

    def __init__(self, name: str, *, calls: list[str]) -> None:
        self._name = name
        self._calls = calls

    @property
    def num_bytes(self) -> int:
        return 7

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        self._calls.append(f"begin {self._name}")
        return update

    def end(self, update: ModelUpdate) -> Metrics:
        self._calls.append(f"end {self._name}")
        return {f"model/{self._name}": 1.0}


def test_they_begin_in_order_and_end_in_the_opposite_one() -> None:
    calls: list[str] = []
    both = [Noting("a", calls=calls), Noting("b", calls=calls)]
    nested, update = Regularizers(both), make_update(make_trainer())
    metrics = nested.end(nested.begin(update))
    assert calls == ["begin a", "begin b", "end b", "end a"]
    assert metrics == {"model/regularizer_bytes": 14.0, "model/a": 1.0, "model/b": 1.0}
    assert isinstance(both[0], Regularizer) and not isinstance(both[0], Stateful)


def test_none_of_them_changes_and_reports_nothing() -> None:
    update = make_update(make_trainer())
    none = Regularizers([])
    assert none.begin(update) is update and none.end(update) == {} and none.num_bytes == 0
