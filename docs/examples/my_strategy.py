"""A replay strategy and a regularizer of your own, checked, and compared with all others.

    cd docs/examples
    python my_strategy.py                     # checks both; seconds
    python my_strategy.py chain_4 --smoke     # the same, then a small study with both in its table
    python my_strategy.py chain_4             # the whole study

The study is `python -m experiments.studies.continual` with one `--add` for each; its results are
kept in `my_results/`, where a second call only runs what is new.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from dyna.protocols import ModelUpdate
from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.shelf import Entry
from dyna.testing import check_regularizer, check_replay_buffer
from dyna.types import Metrics
from experiments.studies.continual.__main__ import main as study
from worldmodels.regularizers.averaging import mixed
from worldmodels.regularizers.memory import Tensors, num_bytes


@dataclass(kw_only=True, eq=False)
class BothEnds(TrajectoryBuffer):
    """Holds the first and the newest that it met; what is between them is forgotten first."""

    name = "both_ends"

    first_share: float = 0.8
    """Part of what is held that is from the beginning."""

    def _forget(self) -> Entry:
        entries = self._shelf.entries  # in the order in which they came
        return entries[min(len(entries) - 1, int(self.first_share * len(entries)))]


class HalfWay:
    """Goes only a part of the way that an update went, once there is something to forget."""

    def __init__(self, *, share: float = 0.5) -> None:
        self._share = share
        self._old: Tensors = {}

    @property
    def num_bytes(self) -> int:
        return num_bytes(self._old)

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        self._old = dict(update.trainer.weights()) if update.number else {}
        return update

    def end(self, update: ModelUpdate) -> Metrics:
        if self._old:
            new = update.trainer.weights()
            update.trainer.load_weights(mixed(self._old, new=new, alpha=self._share))
        self._old = {}
        return {"model/half_way_share": self._share}


ADDED: dict[str, str] = {
    "both_ends": "replay.name=my_strategy:BothEnds",
    "half_way": "'world_model_learner.regularizers=[{name: my_strategy:HalfWay}]'",
}
"""Rows of the study's table: a name, and what it changes in the run."""


def check() -> None:
    """Raises `AssertionError` that says what is wrong."""
    check_replay_buffer(
        lambda: BothEnds(max_transitions=50, max_bytes=20_000),
        max_transitions=50,
        max_bytes=20_000,
    )
    check_regularizer(HalfWay)


if __name__ == "__main__":
    check()
    sys.stdout.write("both keep their contracts\n")
    if sys.argv[1:]:
        # Runs are processes of their own; they find this file by its folder.
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        added = [f"--add={name}={settings}" for name, settings in ADDED.items()]
        study([*sys.argv[1:], *added, "--output", "my_results"])
