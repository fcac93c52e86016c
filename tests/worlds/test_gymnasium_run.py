"""The Dyna loop on an environment of Gymnasium, from its config to its report."""

from __future__ import annotations

from pathlib import Path

from dyna.tracking import read_metrics
from tests.e2e.tiny_run import play, save_tiny_model, tiny


def test_the_loop_runs_on_a_taxi(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    config = tiny(
        tmp_path / "model",
        "world.name=gymnasium",
        "world.params={id: Taxi-v3, success_is_reward: true, num_train: 50, num_valid: 20}",
        "evaluation.split=valid",
        "real.demonstrations=0",
        "real.exploration.name=random",
        "rounds=1",
    )
    shown = play(config, folder=tmp_path / "run")
    assert "round 1: real success" in shown
    [(_, before), (_, after)] = read_metrics(tmp_path / "run")
    assert after["ledger/real_steps"] > before["ledger/real_steps"] > 0
    assert after["ledger/imagined_steps"] > 0
    assert after["eval/real_episodes"] == 2
