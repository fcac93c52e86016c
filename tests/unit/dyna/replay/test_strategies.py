"""What each strategy keeps and draws: its distribution, tested by chi-squared.

Seeds are fixed. A right implementation fails one of these tests with odds below one in a million,
were the seed chosen anew.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dyna.protocols import HasExperiences, HasScores
from dyna.replay import (
    DualBuffer,
    ExperienceBalancedBuffer,
    PrioritizedBuffer,
    SurpriseBuffer,
)
from tests.unit.dyna.replay.strategies import episode

MIN_P = 1e-6


def p_value(observed: Sequence[float], *, expected: Sequence[float]) -> float:
    scaled = np.asarray(expected) * (np.sum(observed) / np.sum(expected))
    return float(stats.chisquare(observed, scaled).pvalue)


def drawn(buffer: PrioritizedBuffer | DualBuffer, *, num: int, names: Sequence[str]) -> list[int]:
    """How often each of the one-turn episodes was drawn."""
    counts = Counter(t.id for t in buffer.sample(num))
    return [counts[name] for name in names]


def test_prioritized_draws_by_loss_to_the_alpha() -> None:
    buffer = PrioritizedBuffer(max_transitions=10, alpha=0.5, age_scale=math.inf, seed=1)
    names = [str(number) for number in range(4)]
    for name in names:
        buffer.add(episode(name, num_turns=1))
    buffer.note_scores({"0": 1.0, "1": 4.0, "2": 9.0, "unknown": 100.0})
    # The one that was never scored counts as the worst loss that was ever heard of.
    expected = [1.0, 2.0, 3.0, 10.0]
    assert buffer.probabilities() == pytest.approx(np.array(expected) / 16.0)
    assert p_value(drawn(buffer, num=4000, names=names), expected=expected) > MIN_P


def test_prioritized_draws_the_young_more_often() -> None:
    buffer = PrioritizedBuffer(max_transitions=10, age_scale=2.0, seed=2)
    names = [str(number) for number in range(6)]
    for name in names:
        buffer.add(episode(name, num_turns=1))
    expected = [math.exp(-age / 2.0) for age in range(5, -1, -1)]
    assert p_value(drawn(buffer, num=4000, names=names), expected=expected) > MIN_P


def test_prioritized_does_not_overflow_over_a_long_life() -> None:
    buffer = PrioritizedBuffer(max_transitions=3, age_scale=0.001, seed=0)
    for number in range(50):
        buffer.add(episode(str(number), num_turns=1))
    assert [t.id for t in buffer.trajectories()] == ["47", "48", "49"]
    assert {t.id for t in buffer.sample(20)} == {"49"}


def test_surprise_keeps_by_weight() -> None:
    kept = Counter[str]()
    for seed in range(150):
        buffer = SurpriseBuffer(max_transitions=20, alpha=1.0, seed=seed)
        for number in range(100):
            buffer.add(episode(str(number), num_turns=1))
            hard = number % 2 == 0
            buffer.note_scores({str(number): 2.0 if hard else 1.0})
        kept.update("hard" if int(t.id) % 2 == 0 else "easy" for t in buffer.trajectories())
        assert len(buffer) == 20
    # Efraimidis and Spirakis' scheme, simulated with numpy alone.
    rng = np.random.default_rng(0)
    weights = np.where(np.arange(100) % 2 == 0, 2.0, 1.0)
    keys = rng.random((4000, 100)) ** (1.0 / weights)
    best = np.argsort(keys, axis=1)[:, -20:]
    share = float((best % 2 == 0).mean())
    observed = [kept["hard"], kept["easy"]]
    assert p_value(observed, expected=[share, 1.0 - share]) > MIN_P
    assert 0.6 < share < 0.7


def test_surprise_without_scores_is_a_reservoir() -> None:
    early = 0
    for seed in range(100):
        buffer = SurpriseBuffer(max_transitions=20, seed=seed)
        for number in range(80):
            buffer.add(episode(str(number), num_turns=1))
        early += sum(int(t.id) < 40 for t in buffer.trajectories())
    assert p_value([early, 2000 - early], expected=[1.0, 1.0]) > MIN_P


def test_surprise_forgets_what_became_easy() -> None:
    buffer = SurpriseBuffer(max_transitions=20, alpha=2.0, seed=5)
    for number in range(20):
        buffer.add(episode(str(number), num_turns=1))
    buffer.note_scores({str(number): 0.01 if number < 10 else 3.0 for number in range(20)})
    for number in range(20, 30):
        buffer.add(episode(str(number), num_turns=1))
    held = {int(t.id) for t in buffer.trajectories()}
    assert not held & set(range(10)), "what the model has learned leaves first"


def test_dual_holds_the_newest_and_an_even_sample_of_all_before() -> None:
    places = Counter[int]()
    for seed in range(120):
        buffer = DualBuffer(max_transitions=20, short_share=0.5, seed=seed)
        for number in range(110):
            buffer.add(episode(str(number), num_turns=1))
        held = [int(t.id) for t in buffer.trajectories()]
        assert held[-10:] == list(range(100, 110))
        assert buffer.num_transitions_by_memory == {"short": 10, "long": 10}
        places.update(number // 25 for number in held[:-10])
    assert p_value([places[quarter] for quarter in range(4)], expected=[1.0] * 4) > MIN_P


def test_dual_draws_from_its_memories_in_their_shares() -> None:
    buffer = DualBuffer(max_transitions=20, short_share=0.25, seed=3)
    for number in range(60):
        buffer.add(episode(str(number), num_turns=1))
    counts = drawn(buffer, num=4000, names=[str(number) for number in range(60)])
    assert p_value([sum(counts[:55]), sum(counts[55:])], expected=[3.0, 1.0]) > MIN_P


def test_experiences_share_the_room_whatever_their_size() -> None:
    buffer = ExperienceBalancedBuffer(max_transitions=60, seed=0)
    for day, size in (("monday", 200), ("tuesday", 40), ("wednesday", 10)):
        buffer.begin_experience(day)
        for number in range(size):
            buffer.add(episode(f"{day}/{number}", num_turns=1))
    assert buffer.num_transitions_by_kind == {"monday": 25, "tuesday": 25, "wednesday": 10}
    counts = Counter(t.id.split("/")[0] for t in buffer.sample(3000))
    assert p_value(list(counts.values()), expected=[1.0] * 3) > MIN_P


def test_an_experience_goes_on_after_a_restore(tmp_path: Path) -> None:
    buffer = ExperienceBalancedBuffer(max_transitions=60, seed=0)
    buffer.begin_experience("monday")
    buffer.add(episode("a", num_turns=1))
    buffer.save(str(tmp_path))
    other = ExperienceBalancedBuffer(max_transitions=60, seed=0)
    other.load(str(tmp_path))
    other.add(episode("b", num_turns=1))
    assert other.num_transitions_by_kind == {"monday": 2}


@pytest.mark.parametrize("buffer_class", [PrioritizedBuffer, SurpriseBuffer])
def test_scores_survive_a_restore_and_leave_with_their_trajectory(
    buffer_class: type[PrioritizedBuffer] | type[SurpriseBuffer], tmp_path: Path
) -> None:
    buffer = buffer_class(max_transitions=12, seed=4)
    assert isinstance(buffer, HasScores) and not isinstance(buffer, HasExperiences)
    for number in range(12):
        buffer.add(episode(str(number), num_turns=1))
        buffer.note_scores({str(number): float(number)})
    buffer.save(str(tmp_path))
    other = buffer_class(max_transitions=12, seed=9)
    other.load(str(tmp_path))
    for number in range(12, 40):
        for each in (buffer, other):
            each.add(episode(str(number), num_turns=1))
            each.note_scores({str(number - 3): 0.5, str(number): 2.0})
        assert [t.id for t in other.sample(6)] == [t.id for t in buffer.sample(6)]
    assert len(buffer._scores) <= len(buffer._entries) == 12


@pytest.mark.parametrize("score", [-0.1, math.nan, math.inf])
def test_a_score_that_is_no_loss_is_refused_and_nothing_noted(score: float) -> None:
    buffer = PrioritizedBuffer(max_transitions=12)
    buffer.add(episode("a", num_turns=1))
    with pytest.raises(ValueError, match="score of 'b'"):
        buffer.note_scores({"a": 1.0, "b": score})
    assert not buffer._scores


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PrioritizedBuffer(max_transitions=5, alpha=-1.0), "alpha"),
        (lambda: PrioritizedBuffer(max_transitions=5, age_scale=0.0), "age_scale"),
        (lambda: DualBuffer(max_transitions=5, short_share=1.0), "short_share"),
    ],
)
def test_senseless_parameters_are_refused(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=words):
        make()
