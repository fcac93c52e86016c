"""ScienceWorld over a thousand episodes: how fast it is, and that Java does not grow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("scienceworld", reason="the scienceworld extra is not installed")

from dyna.envs.scienceworld.benchmark import measure


@pytest.mark.slow
@pytest.mark.skipif("DYNA_TEST_LONG" not in os.environ, reason="minutes; set DYNA_TEST_LONG=1")
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_thousand_episodes_stay_fast_and_small() -> None:
    figures = measure(num_episodes=1000, num_steps=8, heap_mb=512)
    assert figures["num/episodes"] == 1000
    assert figures["time/steps_per_s"] >= 100
    assert figures["memory/java_mb_late"] <= 1.1 * figures["memory/java_mb_early"]
    assert figures["memory/java_mb_late"] <= 700
