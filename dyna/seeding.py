"""Seeds from seeds: every random choice has its own, named by what it is for.

A seed derived by name does not depend on how many numbers were drawn before it, so the same run
gives the same experience however its episodes are spread over processes.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """A seed in [0, 2**63) that depends on `seed` and every name, and on nothing else."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    return np.random.default_rng(derive_seed(seed, *names))
