"""Whole runs that imagine while they learn: they end, stop, break and go on like any other."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.replay.parquet import read_trajectories
from dyna.rollout import BrokenDreamError, BrokenPolicyError
from dyna.tracking import read_metrics
from experiments.watch import Interrupted
from tests.e2e.tiny_run import StopAt, play, tiny

ASYNCHRONOUS = (
    "imagination.max_staleness=2",
    "imagination.episodes_per_round=16",
    "imagination.group_size=2",
    "imagination.batches_per_round=4",
    "policy_learner.algorithm.name=tests.e2e.tiny_run:Praise",
)


def num_dreaming() -> int:
    return sum(thread.name == "dreams" for thread in threading.enumerate())


def check_finished(folder: Path) -> None:
    """Every round planned the same dreams, and all were learned from or dropped."""
    rounds = dict(read_metrics(folder))
    assert sorted(rounds) == [0, 1, 2, 3]
    for round in (1, 2, 3):
        metrics = rounds[round]
        assert metrics["imagined/episodes"] == 16
        assert metrics["ledger/imagined_episodes"] == 16 * round
        assert 0 <= metrics["imagined/staleness"] <= metrics["imagined/largest_staleness"] <= 2
        assert 0 <= metrics["imagined/dropped_stale_groups"] <= 8
    assert rounds[3]["policy/version"] - rounds[2]["policy/version"] >= 3
    assert not num_dreaming()


def test_a_run_in_two_parts_ends_and_spends_what_one_in_lock_step_spends(
    model: Path, tmp_path: Path
) -> None:
    asynchronous, lockstep = tmp_path / "asynchronous", tmp_path / "lockstep"
    play(tiny(model, *ASYNCHRONOUS, "rounds=1"), folder=asynchronous)
    play(tiny(model, *ASYNCHRONOUS), folder=asynchronous, resume=True)
    check_finished(asynchronous)
    play(tiny(model, *ASYNCHRONOUS, "imagination.max_staleness=0", "rounds=1"), folder=lockstep)
    # Until the first dream is learned from, nothing can tell the two apart.
    for round in (0, 1):
        ours, theirs = (
            read_trajectories(folder / "experience" / f"round_{round:06d}.parquet")
            for folder in (asynchronous, lockstep)
        )
        assert ours == theirs
    assert "imagined/dropped_stale_groups" not in dict(read_metrics(lockstep))[1]


@pytest.mark.parametrize("phase", ["imagine", "improve"])
def test_a_run_told_to_stop_in_the_middle_of_a_stream_goes_on(
    phase: str, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted):
        play(
            tiny(model, *ASYNCHRONOUS),
            folder=tmp_path,
            progress=StopAt(phase, round=2, folder=tmp_path),
        )
    assert not num_dreaming()
    assert json.loads((tmp_path / "state.json").read_text())["status"] == "stopped"
    newest = checkpoint.latest(tmp_path)
    assert newest is not None and newest.name == "round_000001"
    play(tiny(model, *ASYNCHRONOUS), folder=tmp_path, resume=True)
    check_finished(tmp_path)


def test_what_breaks_in_a_stream_stops_the_run(model: Path, tmp_path: Path) -> None:
    settings = [*ASYNCHRONOUS, "rounds=1", "evaluation.imagined=false", "evaluation.every=9"]
    broken = "world_model.name=tests.e2e.faulty_parts:BrokenModel"
    with pytest.raises(BrokenDreamError, match="dream round1/dream"):
        play(tiny(model, *settings, broken), folder=tmp_path / "model")
    assert not num_dreaming()
    raising = ["policy.name=tests.e2e.faulty_parts:SayingPolicy", "policy.params={raises: true}"]
    with pytest.raises(BrokenPolicyError, match="no such tool"):
        play(
            tiny(model, *settings, *raising, "real.episodes_per_round=0"),
            folder=tmp_path / "policy",
        )
    assert not num_dreaming()
