"""The benchmark of the replay strategies, on a stream of a few rounds."""

from __future__ import annotations

import pytest

from dyna.plugins import BUILT_IN
from experiments.bench.replay import measure, table


@pytest.mark.parametrize("name", sorted(BUILT_IN["replay_buffers"]))
def test_a_strategy_is_measured_within_its_memory(name: str) -> None:
    found = measure(name, num_transitions=6_000, max_bytes=500_000)
    assert found["inserted"] >= 6_000 and found["sampled"] >= 6_000
    assert 250_000 < found["peak_bytes"] <= 500_000
    assert found["inserts_per_s"] > 2_000 and found["samples_per_s"] > 2_000
    assert f"| `{name}` |" in table({name: found})
