"""Batches cover the samples evenly; rows hold them without padding."""

from __future__ import annotations

import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.training.packing import (
    StreamTotals,
    make_batches,
    num_trained_tokens,
    pack,
    padding_waste,
)
from dyna.types import TrainingSample

CPU = torch.device("cpu")


def sample_of(length: int, *, first: int = 1) -> TrainingSample:
    ce = (0.0,) * first + (1.0,) * (length - first)
    return TrainingSample(token_ids=tuple(range(length)), ce=ce)


def realistic(num: int, *, seed: int = 0) -> list[TrainingSample]:
    rng = random.Random(seed)
    return [sample_of(rng.randint(60, 400), first=50) for _ in range(num)]


def test_one_epoch_takes_every_sample_once_in_batches_of_like_size() -> None:
    samples = realistic(200)
    batches = make_batches(samples, tokens_per_batch=4096, epochs=1, seed=3)
    assert Counter(id(s) for batch in batches for s in batch) == Counter(map(id, samples))
    sizes = [sum(map(num_trained_tokens, batch)) for batch in batches]
    assert all(abs(size - 4096) < 500 for size in sizes)


def test_a_fraction_of_an_epoch_takes_that_share_and_more_epochs_reshuffle() -> None:
    samples = realistic(40)
    batches = make_batches(samples, tokens_per_batch=1000, epochs=2.5, seed=0)
    queue = [sample for batch in batches for sample in batch]
    assert len(queue) == 100
    counts = Counter(map(id, queue))
    assert set(counts.values()) == {2, 3}
    assert [id(s) for s in queue[:40]] != [id(s) for s in queue[40:80]]


def test_batches_follow_from_the_seed() -> None:
    samples = realistic(30)
    first, again, other = (
        make_batches(samples, tokens_per_batch=2000, epochs=2, seed=seed) for seed in (5, 5, 6)
    )
    assert first == again != other


def test_samples_that_no_stream_speaks_of_are_left_out() -> None:
    silent = TrainingSample(token_ids=(1, 2, 3))
    assert make_batches([silent], tokens_per_batch=10, epochs=1, seed=0) == []
    assert make_batches([], tokens_per_batch=10, epochs=1, seed=0) == []
    assert make_batches([sample_of(5)], tokens_per_batch=10, epochs=0, seed=0) == []
    assert make_batches([sample_of(5)], tokens_per_batch=10, epochs=0.1, seed=0) != []


@pytest.mark.parametrize(("tokens", "epochs"), [(0, 1.0), (10, -1.0), (10, float("nan"))])
def test_senseless_sizes_are_refused(tokens: int, epochs: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        make_batches([sample_of(5)], tokens_per_batch=tokens, epochs=epochs, seed=0)


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 60), max_size=30),
    max_tokens=st.integers(1, 100),
    max_targets=st.integers(1, 100),
)
def test_rows_hold_all_tokens_within_their_bounds(
    lengths: list[int], max_tokens: int, max_targets: int
) -> None:
    rows = pack(
        [sample_of(n) for n in lengths], max_tokens=max_tokens, max_targets=max_targets, device=CPU
    )
    assert sorted(n for row in rows for n in row.lengths) == sorted(n - 1 for n in lengths)
    assert padding_waste(rows) == 0.0
    for row in rows:
        assert len(row.lengths) == 1 or row.input_ids.numel() <= max_tokens
        assert len(row.lengths) == 1 or row.targets.numel() <= max_targets
        # Every target is the input's successor, within its own sample.
        assert torch.equal(row.targets, row.input_ids[0][row.positions] + 1)
        assert torch.equal(row.position_ids, row.input_ids)


def test_one_long_row_does_not_take_the_memory_of_a_square_mask() -> None:
    rows = pack([sample_of(5000), sample_of(10)], max_tokens=100, max_targets=100, device=CPU)
    assert [row.lengths for row in rows] == [(4999,), (9,)]
    assert all(tensor.numel() <= 5000 for tensor in (rows[0].input_ids, rows[0].position_ids))


def test_totals_add_over_parts() -> None:
    left = TrainingSample(token_ids=(1, 2, 3), ce=(0, -0.5, 1))
    right = TrainingSample(
        token_ids=(1, 2), rl=(0, 0), rl_mask=(0, 1), old_log_probs=(0, -1), ref_kl=(0, 0.2)
    )
    assert StreamTotals.of([left]) + StreamTotals.of([right]) == StreamTotals.of([left, right])
    assert StreamTotals.of([left, right]) == StreamTotals(rl=1.0, ce=1.5, ref_kl=1.0)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (TrainingSample(token_ids=(1, 2), ce=(0, 1, 1)), "as long as"),
        (TrainingSample(token_ids=(1, 2), ce=(1, 1)), "position 0"),
        (TrainingSample(token_ids=(1, 2), ce=(0, float("nan"))), "finite"),
        (TrainingSample(token_ids=(1, 2), rl_mask=(0, 1)), "old_log_probs"),
    ],
)
def test_malformed_samples_are_refused(sample: TrainingSample, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamTotals.of([sample])
