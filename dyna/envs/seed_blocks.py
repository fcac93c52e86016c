"""Splits of worlds whose tasks are seeds: each split has a block of seeds of its own."""

from __future__ import annotations

from collections.abc import Mapping

from dyna.envs.task_range import check_range, check_size

BLOCK = 1_000_000
"""Seeds of one split; the sizes of splits may change without a seed moving to another split."""
SPLITS = ("train", "valid", "test")


class SeedBlocks:
    """Example: `SeedBlocks({"train": 1000, "valid": 100, "test": 0}).seed("valid", index=3)` is
    1_000_003.

    A split of size 0 is not there. Raises `ValueError` for sizes outside [0, 1_000_000], and for
    an empty train split.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        for split, size in sizes.items():
            if not 0 <= size <= BLOCK:
                raise ValueError(f"num_{split} must be in [0, {BLOCK}], got {size}")
        if sizes.get("train", 0) < 1:
            raise ValueError("num_train must be >= 1: there is no world without a train split")
        self._order = list(sizes)
        self.sizes = {split: size for split, size in sizes.items() if size}

    def indices(self, split: str, *, num: int, offset: int) -> range:
        """The positions asked for. Raises `ValueError` for an unknown split or too few tasks."""
        check_range(split, num=num, offset=offset, splits=self.sizes)
        size, remedy = self.sizes[split], f"raise num_{split}"
        check_size(split, num=num, offset=offset, size=size, remedy=remedy)
        return range(offset, offset + num)

    def seed(self, split: str, *, index: int) -> int:
        return self._order.index(split) * BLOCK + index


__all__ = ["BLOCK", "SPLITS", "SeedBlocks"]
