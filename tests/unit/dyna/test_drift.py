"""Boundaries from losses: found soon, not found where there are none, exact after a restart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from dyna.config import DriftConfig, DriftTest, RunConfig, StreamConfig
from dyna.drift import DriftDetector, StreamWatch
from dyna.samples import sample_trajectories
from dyna.types import Trajectory
from dyna.validation import problems

TESTS = list(DriftTest)


def losses(*means: float, num: int, seed: int, spread: float = 0.5) -> list[float]:
    """`num` about each of the means in turn: normal in the logarithm."""
    rng = np.random.default_rng(seed)
    return [float(m * math.exp(spread * rng.standard_normal())) for m in means for _ in range(num)]


@pytest.mark.parametrize("test", TESTS)
def test_a_tenfold_loss_is_found_soon_and_once(test: DriftTest) -> None:
    # The rise is 4.6 standard deviations of one episode: 60 of them do not hide it.
    for seed in range(20):
        detector = DriftDetector(DriftConfig(test=test))
        assert not detector.update(losses(0.05, num=100, seed=seed))
        assert detector.update(losses(0.5, num=60, seed=100 + seed))
        assert len(detector.found) == 1
        assert 100 < detector.found[0] <= 125


@pytest.mark.parametrize("test", TESTS)
def test_a_loss_that_stays_is_no_drift(test: DriftTest) -> None:
    for seed in range(20):
        detector = DriftDetector(DriftConfig(test=test))
        assert not detector.update(losses(0.05, num=300, seed=seed))


@pytest.mark.parametrize("test", TESTS)
def test_a_model_that_learns_is_no_drift_and_does_not_hide_one(test: DriftTest) -> None:
    for seed in range(20):
        detector = DriftDetector(DriftConfig(test=test))
        assert not detector.update(losses(5.0, 0.5, 0.1, num=60, seed=seed, spread=0.3))
        assert detector.update(losses(1.0, num=30, seed=100 + seed))
        assert detector.found[0] <= 205


def test_what_is_below_the_floor_is_all_the_same() -> None:
    detector = DriftDetector(DriftConfig(floor=0.01))
    assert not detector.update([1e-6] * 100 + [1e-3] * 100)


@pytest.mark.parametrize("test", TESTS)
def test_a_detector_goes_on_exactly_where_it_was(test: DriftTest, tmp_path: Path) -> None:
    stream = losses(0.5, 0.05, 0.4, 0.04, 0.6, num=50, seed=1)
    whole = DriftDetector(DriftConfig(test=test))
    whole.update(stream)
    assert len(whole.found) == 2
    for cut in (0, 1, 49, 101, 130, 249):
        first = DriftDetector(DriftConfig(test=test))
        first.update(stream[:cut])
        first.save(str(tmp_path / "state"))
        second = DriftDetector(DriftConfig(test=test))
        second.load(str(tmp_path / "state"))
        second.update(stream[cut:])
        assert (second.found, second.num_seen) == (whole.found, whole.num_seen)


def test_a_loss_that_is_no_loss_is_refused() -> None:
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="must be a number >= 0"):
            DriftDetector(DriftConfig()).update([wrong])


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "drift.json").write_text('{"num_seen": 3}')
    with pytest.raises(ValueError, match=r"drift\.json.*no state of a drift detector"):
        DriftDetector(DriftConfig()).load(str(tmp_path))


@pytest.mark.parametrize("change", [{"threshold": 0.0}, {"level": 1.0}, {"floor": 0.0}])
def test_settings_out_of_range_are_refused(change: dict[str, float]) -> None:
    config = RunConfig(stream=StreamConfig(drift=DriftConfig(**change)))  # pyright: ignore
    assert [p for p in problems(config) if f"stream.drift.{next(iter(change))} must be" in p]


class Diary:
    """Notes the experiences that it is told of."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def begin_experience(self, name: str) -> None:
        self.names.append(name)


def test_a_watch_tells_every_part_of_each_boundary_and_survives_a_restart(tmp_path: Path) -> None:
    level = 0.05
    episodes = list(sample_trajectories())

    def score(fresh: Sequence[Trajectory]) -> Mapping[str, float]:
        return {t.id: level for t in fresh}

    def watch(*parts: Diary) -> StreamWatch:
        return StreamWatch(DriftConfig(min_episodes=3), score=score, parts=parts)

    one, two = Diary(), Diary()
    first = watch(one, two)
    for _ in range(10):
        metrics = first.observe(episodes)
        assert metrics["drift/found"] == 0.0
        assert metrics["drift/loss"] == pytest.approx(level)
    assert one.names == two.names == ["drift 0"]
    first.save(str(tmp_path))
    again = Diary()
    second = watch(again)
    second.load(str(tmp_path))
    level = 50.0
    found = [second.observe(episodes)["drift/found"] for _ in range(10)]
    assert sum(found) == 1.0
    assert again.names == ["drift 1"]
    assert second.experience == "drift 1"


def test_a_watch_without_episodes_finds_nothing() -> None:
    watch = StreamWatch(DriftConfig(), score=lambda fresh: {}, parts=[])
    assert watch.observe([])["drift/found"] == 0.0
