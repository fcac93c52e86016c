"""The trials of drift detection: what they read from losses, and what the page says of it."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dyna.config import DriftConfig
from dyna.files import write_json
from experiments.studies.continual.drift_trials import (
    Losses,
    Settings,
    read_settings,
    run_trials,
    section,
    steady_trial,
    trial,
)


def settings() -> Settings:
    return replace(
        read_settings(), pool=50, tuning=0, rounds=3, trials=20, after={"far": {"rooms": ["x"]}}
    )


def losses(*, after: float) -> Losses:
    """A model that learns from 5 nats down to 0.1, and meets a world of `after` nats."""
    rng = np.random.default_rng(0)

    def pool(mean: float) -> list[float]:
        return [float(mean * math.exp(0.3 * x)) for x in rng.standard_normal(50)]

    return Losses(
        before=[pool(mean) for mean in (5.0, 0.4, 0.2, 0.1, 0.1)],
        after={"far": [pool(after)] * 3},
    )


def test_a_switch_that_surprises_is_noticed_within_a_round() -> None:
    for seed in range(20):
        found = trial(
            losses(after=1.0), switch="far", settings=settings(), drift=DriftConfig(), seed=seed
        )
        assert found["false_alarms"] == 0
        assert found["episodes_before"] == 80 + 3 * 12
        assert found["delay"] is not None and 1 <= found["delay"] <= 12


def test_a_switch_to_what_is_known_is_not_noticed() -> None:
    found = run_trials(losses(after=0.1), settings=settings())
    for test in found.values():
        assert all(t["delay"] is None for t in test["switches"]["far"])
        assert not any(t["false_alarms"] for t in test["steady"])


def test_a_trial_without_a_switch_reads_as_many_episodes_as_it_says() -> None:
    found = steady_trial(losses(after=1.0), settings=settings(), drift=DriftConfig(), seed=0)
    assert found == {"seed": 0, "false_alarms": 0, "episodes": 500}


def test_the_section_is_made_of_the_file_alone(tmp_path: Path) -> None:
    chosen, made = settings(), losses(after=1.0)
    value = {
        "settings": asdict(chosen),
        "tests": run_trials(made, settings=chosen),
        "losses": asdict(made),
    }
    write_json(tmp_path / "drift.json", value=value)
    text = section(tmp_path / "drift.json")
    assert "| `rooms: x` |" in text
    assert "20 of 20 found" in text
    assert "0 in 10,000 episodes" in text
