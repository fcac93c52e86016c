import itertools
import json
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.protocols import ReplayBuffer, Stateful
from dyna.replay import (
    DarkExperienceBuffer,
    DualBuffer,
    ExperienceBalancedBuffer,
    FifoBuffer,
    GradientBuffer,
    PrioritizedBuffer,
    ReservoirBuffer,
    SurpriseBuffer,
    TaskBalancedBuffer,
)
from dyna.types import Source, StopReason, Trajectory
from tests.unit.dyna.replay.strategies import episode, trajectories

BUFFERS = [
    FifoBuffer,
    ReservoirBuffer,
    TaskBalancedBuffer,
    ExperienceBalancedBuffer,
    PrioritizedBuffer,
    SurpriseBuffer,
    DualBuffer,
    GradientBuffer,
    DarkExperienceBuffer,
]
every_buffer = pytest.mark.parametrize("buffer_class", BUFFERS, ids=lambda b: b.name)


@every_buffer
def test_buffers_fulfil_the_protocols(buffer_class: Any) -> None:
    buffer = buffer_class(max_transitions=10, max_bytes=10_000, seed=3)
    assert isinstance(buffer, ReplayBuffer) and isinstance(buffer, Stateful)


good_stops = st.sampled_from([stop for stop in StopReason if not stop.is_failure])
real = trajectories(sources=st.just(Source.REAL), stops=good_stops, min_turns=1)


@every_buffer
@settings(max_examples=25, deadline=None)
@given(stored=st.lists(real, min_size=1, max_size=6), seed=st.integers(0, 5))
def test_what_is_sampled_is_what_was_stored(
    buffer_class: Any, stored: list[Trajectory], seed: int
) -> None:
    buffer = buffer_class(max_transitions=1000, seed=seed)
    for trajectory in stored:
        buffer.add(trajectory)
    assert list(buffer.trajectories()) == stored
    assert len(buffer) == sum(len(t.turns) for t in stored)
    sampled = buffer.sample(20)
    assert all(trajectory in stored for trajectory in sampled)
    assert sum(len(t.turns) for t in sampled) >= 20
    assert sum(len(t.turns) for t in sampled[:-1]) < 20


@every_buffer
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 9), max_size=40), kinds=st.integers(1, 4))
def test_neither_capacity_is_ever_exceeded(
    buffer_class: Any, lengths: list[int], kinds: int
) -> None:
    buffer = buffer_class(max_transitions=20, max_bytes=4000, seed=0)
    for number, length in enumerate(lengths):
        buffer.add(episode(str(number), num_turns=length, family=str(number % kinds)))
        assert len(buffer) <= 20 and buffer.num_bytes <= 4000
        held = list(buffer.trajectories())
        assert len(buffer) == sum(len(t.turns) for t in held)
        numbers = [int(t.id) for t in held]
        assert numbers == sorted(set(numbers))


@every_buffer
def test_a_loaded_buffer_goes_on_as_the_saved_one(buffer_class: Any, tmp_path: Path) -> None:
    buffer = buffer_class(max_transitions=60, seed=7)
    names = itertools.count()

    def feed(*buffers: Any) -> None:
        for _ in range(30):
            number = next(names)
            one = episode(str(number), num_turns=1 + number % 4, family=str(number % 3))
            for each in buffers:
                each.add(one)

    feed(buffer)
    buffer.sample(10)
    buffer.save(str(tmp_path))
    other = buffer_class(max_transitions=60, seed=99)
    other.load(str(tmp_path))
    assert other.num_bytes == buffer.num_bytes and len(other) == len(buffer)
    for _ in range(3):
        assert other.sample(25) == buffer.sample(25)
        feed(buffer, other)
        assert list(other.trajectories()) == list(buffer.trajectories())


@every_buffer
def test_the_same_seed_samples_the_same(buffer_class: Any) -> None:
    def sampled(seed: int) -> list[str]:
        buffer = buffer_class(max_transitions=100, seed=seed)
        for number in range(30):
            buffer.add(episode(str(number)))
        return [t.id for t in buffer.sample(60)]

    assert sampled(1) == sampled(1) != sampled(2)


@every_buffer
def test_imagined_trajectories_are_refused(buffer_class: Any) -> None:
    buffer = buffer_class(max_transitions=10)
    with pytest.raises(ValueError, match="source 'imagined'"):
        buffer.add(episode("dream", source=Source.IMAGINED))
    with pytest.raises(ValueError, match=r"source 'rehearsed'.*accept_rehearsed=True"):
        buffer.add(episode("old dream", source=Source.REHEARSED))
    willing = buffer_class(max_transitions=10, accept_rehearsed=True)
    willing.add(episode("old dream", source=Source.REHEARSED))
    assert len(willing) == 3
    with pytest.raises(ValueError, match="source 'imagined'"):
        willing.add(episode("dream", source=Source.IMAGINED))


@every_buffer
def test_failures_are_refused_and_empty_episodes_leave_nothing(buffer_class: Any) -> None:
    buffer = buffer_class(max_transitions=10)
    with pytest.raises(ValueError, match=r"failed.*env_timeout.*ledger"):
        buffer.add(episode("broken", stop=StopReason.ENV_TIMEOUT))
    buffer.add(episode("at once full", num_turns=0, stop=StopReason.CONTEXT_FULL))
    assert len(buffer) == 0 and buffer.num_bytes == 0 and buffer.sample(0) == []


@every_buffer
def test_senseless_requests_are_refused(buffer_class: Any) -> None:
    with pytest.raises(ValueError, match="max_transitions must be >= 1, got 0"):
        buffer_class(max_transitions=0)
    buffer = buffer_class(max_transitions=2)
    with pytest.raises(ValueError, match="empty replay buffer"):
        buffer.sample(1)
    with pytest.raises(ValueError, match="got -1"):
        buffer.sample(-1)
    with pytest.raises(ValueError, match="larger than the whole"):
        buffer.add(episode("long", num_turns=3))


@every_buffer
def test_torn_or_foreign_folders_are_refused(buffer_class: Any, tmp_path: Path) -> None:
    buffer = buffer_class(max_transitions=10)
    with pytest.raises(FileNotFoundError, match=r"buffer\.json does not exist"):
        buffer.load(str(tmp_path))
    buffer.add(episode("one"))
    buffer.save(str(tmp_path))
    state = json.loads((tmp_path / "buffer.json").read_text())
    (tmp_path / "buffer.json").write_text(json.dumps({**state, "serials": [], "keys": []}))
    with pytest.raises(ValueError, match="torn"):
        buffer.load(str(tmp_path))
    (tmp_path / "buffer.json").write_text(json.dumps({**state, "buffer": "other"}))
    with pytest.raises(ValueError, match="saved by a 'other' buffer"):
        buffer.load(str(tmp_path))
    (tmp_path / "buffer.json").write_text('{"buffer":')
    with pytest.raises(ValueError, match="not whole JSON"):
        buffer.load(str(tmp_path))
    assert [t.id for t in buffer.trajectories()] == ["one"]


def test_a_smaller_buffer_loads_what_it_has_room_for() -> None:
    with tempfile.TemporaryDirectory() as folder:
        buffer = FifoBuffer(max_transitions=30)
        for number in range(10):
            buffer.add(episode(str(number)))
        buffer.save(folder)
        small = FifoBuffer(max_transitions=9)
        small.load(folder)
        assert [t.id for t in small.trajectories()] == ["7", "8", "9"]


def test_fifo_keeps_the_newest() -> None:
    buffer = FifoBuffer(max_transitions=9)
    for number in range(20):
        buffer.add(episode(str(number)))
    assert [t.id for t in buffer.trajectories()] == ["17", "18", "19"]


def test_reservoir_holds_old_and_new_alike() -> None:
    """30 of 100 in each of 300 runs: a count is binomial, 5 sigma from 90 is 40."""
    one = episode("x", num_turns=1)
    times_held: Counter[str] = Counter()
    for seed in range(300):
        buffer = ReservoirBuffer(max_transitions=30, seed=seed)
        for number in range(100):
            buffer.add(replace(one, id=str(number)))
        held = [t.id for t in buffer.trajectories()]
        assert len(held) == 30
        times_held.update(held)
    assert set(times_held) == {str(n) for n in range(100)}
    assert all(abs(times_held[str(n)] - 90) < 40 for n in range(100))


def test_reservoir_does_not_prefer_short_or_late_trajectories() -> None:
    """Mixed lengths: long and short, early and late trajectories are held about equally often."""
    held: Counter[tuple[int, bool]] = Counter()
    for seed in range(150):
        buffer = ReservoirBuffer(max_transitions=150, seed=seed)
        for number in range(100):
            buffer.add(episode(str(number), num_turns=9 if number % 2 else 1))
        held.update((len(t.turns), int(t.id) >= 50) for t in buffer.trajectories())
    assert max(held.values()) < 1.15 * min(held.values())


def test_task_balanced_shares_the_room_equally() -> None:
    buffer = TaskBalancedBuffer(max_transitions=90, seed=0)
    for number in range(300):
        buffer.add(episode(str(number), family="common" if number % 2 else "usual"))
    for number in range(4):
        buffer.add(episode(f"rare {number}", family="rare"))
    assert buffer.num_transitions_by_kind == {
        "house/common": 39,
        "house/rare": 12,
        "house/usual": 39,
    }
    drawn = Counter(t.task.family for t in buffer.sample(9000))
    assert all(abs(drawn[family] - 1000) < 150 for family in ("common", "usual", "rare"))


def test_task_balanced_keeps_old_and_new_within_a_family() -> None:
    ages: list[int] = []
    for seed in range(100):
        buffer = TaskBalancedBuffer(max_transitions=60, seed=seed)
        for number in range(120):
            buffer.add(episode(str(number), num_turns=1, family=str(number % 2)))
        ages += [int(t.id) for t in buffer.trajectories()]
    assert abs(sum(ages) / len(ages) - 59.5) < 3
