"""Boundaries that nobody tells: an experience begins where the world model is suddenly surprised.

Every fresh real episode is scored before the model trains on it; the logarithm of its loss goes
through a test for a change of the mean, from the `river` library: Page-Hinkley (Page, "Continuous
inspection schemes", 1954; Hinkley, 1971) or ADWIN (Bifet and Gavalda, 2007). A loss that falls is
no drift: the model has learned, and the test starts again from where it is now.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dyna.config import DriftConfig, DriftTest
from dyna.files import read_json, write_json
from dyna.protocols import HasExperiences
from dyna.seeding import derive_seed
from dyna.types import Metrics, Trajectory

_STATE = "drift.json"


class _Test(Protocol):
    def read(self, value: float) -> int:
        """1 where the mean has risen, -1 where it has fallen, else 0."""
        ...


class DriftDetector:
    """Example: `DriftDetector(DriftConfig()).update([0.1, 0.12, 0.9])`; True where drift is found.

    Its state is the losses since the last change: a test made anew that reads them again is where
    this one is, to the last bit, whatever the library keeps inside.
    """

    def __init__(self, config: DriftConfig) -> None:
        self.config = config
        self.num_seen = 0
        """Losses, over all."""
        self.found: list[int] = []
        """The number of the loss, counted from 1, at which each drift was found."""
        self._recent: list[float] = []
        self._test = _make_test(config)

    def update(self, losses: Iterable[float]) -> bool:
        """Take in the losses of fresh episodes, in order; whether there was drift among them.

        Raises `ValueError` for a loss that is below 0 or not finite.
        """
        before = len(self.found)
        for loss in losses:
            if not (math.isfinite(loss) and loss >= 0.0):
                raise ValueError(
                    f"a loss must be a number >= 0, got {loss}; the model has diverged: load an "
                    "earlier checkpoint, or lower its learning rate"
                )
            self.num_seen += 1
            self._recent.append(loss)
            change = self._read(loss)
            if change > 0:
                self.found.append(self.num_seen)
            if change:
                self._recent = []
                self._test = _make_test(self.config)
        return len(self.found) > before

    def save(self, folder: str) -> None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        state = {"num_seen": self.num_seen, "found": self.found, "recent": self._recent}
        write_json(path / _STATE, value=state)

    def load(self, folder: str) -> None:
        """Raises `FileNotFoundError`, or `ValueError` for a file that holds no such state."""
        path = Path(folder) / _STATE
        state: Mapping[str, Any] = read_json(path)
        try:
            self.num_seen = int(state["num_seen"])
            self.found = [int(number) for number in state["found"]]
            self._recent = [float(loss) for loss in state["recent"]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{str(path)!r} is no state of a drift detector ({error!r}); restore an older one"
            ) from error
        self._test = _make_test(self.config)
        for loss in self._recent:
            self._read(loss)

    def _read(self, loss: float) -> int:
        return self._test.read(math.log(loss + self.config.floor))


class StreamWatch:
    """Begins experiences by itself, under the names `drift 0`, `drift 1`, ...

    `score` gives the loss of episodes under the live model, by id; `parts` are told of every
    boundary. Example: `StreamWatch(config, score=score, parts=[replay, learner]).observe(fresh)`.
    """

    def __init__(
        self,
        config: DriftConfig,
        *,
        score: Callable[[Sequence[Trajectory]], Mapping[str, float]],
        parts: Sequence[HasExperiences],
        seed: int = 0,
    ) -> None:
        self.detector = DriftDetector(config)
        self._score = score
        self._parts = tuple(parts)
        self._seed = seed

    @property
    def experience(self) -> str:
        """The name of the current one."""
        return f"drift {len(self.detector.found)}"

    def observe(self, fresh: Sequence[Trajectory]) -> Metrics:
        """Ask before the model trains on `fresh`, and before a buffer takes them.

        All of a batch are of the experience that begins with it. They are read in an order of
        their own: those who play by turns do not surprise alike, and that is no drift.
        """
        if not self.detector.num_seen:
            self._begin()
        losses = self._score(fresh)
        order = sorted(losses, key=lambda id: derive_seed(self._seed, "drift", id))
        found = self.detector.update(losses[id] for id in order)
        if found:
            self._begin()
        metrics = {
            "drift/found": float(found),
            "drift/experiences": float(len(self.detector.found) + 1),
        }
        if losses:
            metrics["drift/loss"] = sum(losses.values()) / len(losses)
        return metrics

    def save(self, folder: str) -> None:
        self.detector.save(folder)

    def load(self, folder: str) -> None:
        self.detector.load(folder)

    def _begin(self) -> None:
        for part in self._parts:
            part.begin_experience(self.experience)


class _PageHinkley:
    def __init__(self, config: DriftConfig) -> None:
        from river.drift import PageHinkley

        self._rise, self._fall = (
            PageHinkley(
                min_instances=config.min_episodes,
                delta=config.tolerance,
                threshold=config.threshold,
                alpha=1.0,  # nothing is forgotten: the test starts again at every change
                mode="up",
            )
            for _ in range(2)
        )

    def read(self, value: float) -> int:
        self._rise.update(value)
        self._fall.update(-value)
        return int(self._rise.drift_detected) or -int(self._fall.drift_detected)


class _Adwin:
    def __init__(self, config: DriftConfig) -> None:
        from river.drift import ADWIN

        self._test = ADWIN(delta=config.level, clock=1, grace_period=config.min_episodes)

    def read(self, value: float) -> int:
        before = self._test.estimation
        self._test.update(value)
        if not self._test.drift_detected:
            return 0
        return 1 if self._test.estimation > before else -1


def _make_test(config: DriftConfig) -> _Test:
    # `river` takes most of a second to import, and most runs are told their boundaries.
    return _Adwin(config) if config.test is DriftTest.ADWIN else _PageHinkley(config)


__all__ = ["DriftDetector", "StreamWatch"]
