"""Blocks of seeds: what a split is where tasks are seeds."""

from __future__ import annotations

import pytest

from dyna.envs.seed_blocks import BLOCK, SeedBlocks


def test_blocks_do_not_meet_and_stay_where_they_are() -> None:
    small = SeedBlocks({"train": 10, "valid": 5, "test": 3})
    large = SeedBlocks({"train": BLOCK, "valid": 0, "test": 3})
    assert small.sizes == {"train": 10, "valid": 5, "test": 3}
    assert large.sizes == {"train": BLOCK, "test": 3}
    assert large.seed("train", index=BLOCK - 1) < small.seed("valid", index=0)
    assert small.seed("test", index=2) == large.seed("test", index=2) == 2 * BLOCK + 2
    assert list(small.indices("valid", num=2, offset=3)) == [3, 4]


@pytest.mark.parametrize(
    ("split", "num", "offset", "said"),
    [
        ("valid", 1, 5, "split 'valid' has only 5 tasks, 6 were asked for; raise num_valid"),
        ("nowhere", 1, 0, "split must be one of"),
        ("train", -1, 0, "num and offset must be >= 0"),
    ],
)
def test_what_is_not_there_is_refused(split: str, num: int, offset: int, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SeedBlocks({"train": 10, "valid": 5}).indices(split, num=num, offset=offset)


@pytest.mark.parametrize("sizes", [{"train": 0}, {"train": 1, "valid": -1}, {"train": BLOCK + 1}])
def test_sizes_that_make_no_splits_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="num_"):
        SeedBlocks(sizes)
