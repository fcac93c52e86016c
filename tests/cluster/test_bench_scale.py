"""The benchmark of scale, as small as it gets: what it says of itself must be so."""

from __future__ import annotations

import pytest

from experiments.bench.scale import Setting, bench_scale, to_markdown

pytestmark = [pytest.mark.ray, pytest.mark.cluster]


def test_steps_are_counted_against_what_the_engine_allows(local_ray: str) -> None:
    # Enough steps that an actor's work shows in a clock that ticks every 10 ms.
    setting = Setting(sizes=(1, 2), conversations=32, horizon=6, latency_s=0.1, num_batches=3)
    found = bench_scale(setting)
    rows = found["by_actors"]
    assert rows["1"]["efficiency"] == 1.0
    assert found["scaling_efficiency_2"] == rows["2"]["efficiency"]
    for row in rows.values():
        assert 0.2 < row["share_of_ceiling"] <= 1.0
        assert row["bytes_per_step"] > 0
        assert row["actor_cpu_s_per_1000_steps"] > 0
    # 6 steps of at least a command, an answer and their frames
    assert rows["2"]["sample_tokens_per_step"] > 10
    assert [f"\n| {size} | " in to_markdown(found) for size in (1, 2, 4)] == [True, True, False]
