"""Worlds, policies, models and disks that break: recorded as data, or said out loud."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.replay.parquet import read_trajectories
from dyna.rollout import BrokenDreamError, BrokenPolicyError
from dyna.tracking import read_metrics
from dyna.types import StopReason
from experiments.run import opened
from tests.e2e.tiny_run import metrics_of, play, state_of, tiny

FAULTY = "world.name=tests.e2e.faulty_parts:FaultyWorld"
SAYING = "policy.name=tests.e2e.faulty_parts:SayingPolicy"


@pytest.mark.parametrize(
    ("fault", "stop", "error"),
    [
        ("raise", StopReason.ENV_ERROR, "the kettle broke"),
        ("nan", StopReason.ENV_ERROR, "reward must be a finite number, got nan"),
        ("hang", StopReason.ENV_TIMEOUT, "step took longer than 1 s"),
        ("crash", StopReason.ENV_ERROR, "died of SIGABRT"),
    ],
)
def test_a_world_that_breaks_is_recorded_and_the_run_goes_on(
    fault: str, stop: StopReason, error: str, model: Path, tmp_path: Path
) -> None:
    world = f"world.params={{admissible: true, fault: {fault}, every: 3, at: 2}}"
    limits = {
        "hang": ["world.isolation=thread", "world.step_timeout_s=1"],
        "crash": ["world.isolation=process", "world.workers.num=2"],
    }.get(fault, [])
    play(tiny(model, "rounds=1", FAULTY, world, *limits), folder=tmp_path)
    episodes = [
        t
        for round in (0, 1)
        for t in read_trajectories(tmp_path / f"experience/round_00000{round}.parquet")
    ]
    failed = [t for t in episodes if t.stop.is_failure]
    assert 0 < len(failed) < len(episodes)
    assert {t.stop for t in failed} >= {stop} and any(error in t.error for t in failed)
    assert all(len(t.turns) <= 1 and t.total_reward == 0 and not t.success for t in failed)
    (_, first), (_, last) = read_metrics(tmp_path)
    assert first["real/failures"] + last["real/failures"] == len(failed)
    assert last["ledger/real_failures"] == len(failed)
    assert last[f"ledger/real_stop/{stop}"] >= 1
    assert last["ledger/real_episodes"] == len(episodes)
    assert not any(math.isinf(value) for value in last.values())


def test_a_world_that_always_breaks_leaves_a_run_that_learned_nothing(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = ["rounds=2", FAULTY, "world.params={admissible: true, fault: raise}"]
    play(tiny(model, *changes, "real.explorations=40"), folder=tmp_path)
    metrics = dict(read_metrics(tmp_path))
    assert metrics[0]["real/failures"] == 42 and metrics[2]["ledger/real_failures"] == 50
    assert metrics[2]["ledger/imagined_steps"] == 0
    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "40 of 40 episodes ended env_error: step raised OSError: the kettle broke" in warnings
    assert len(warnings) <= 6


@pytest.mark.parametrize(
    "said",
    ["{said: '', times: 1}", "{said: 'xyzzy <|end|> \\u0000 '}", "{said: 'go to ', times: 10000}"],
    ids=["nothing", "garbage", "10k tokens"],
)
def test_whatever_a_policy_says_the_run_completes(said: str, model: Path, tmp_path: Path) -> None:
    play(tiny(model, "rounds=1", SAYING, f"policy.params={said}"), folder=tmp_path)
    last = dict(read_metrics(tmp_path))[1]
    assert last["real/failures"] == 0 and last["eval/real_success"] == 0
    assert last["real/invalid_actions"] == 1
    assert last["imagined/episodes"] == 8


def test_a_policy_that_never_works_stops_the_run_with_its_first_error(
    model: Path, tmp_path: Path
) -> None:
    changes = ["rounds=1", SAYING, "evaluation.every=9"]
    with pytest.raises(BrokenPolicyError) as stopped:
        play(tiny(model, *changes, "policy.params={raises: true}"), folder=tmp_path)
    assert str(stopped.value) == (
        "all 2 episodes of 'policy' failed; the first, evaluation0/0: "
        "act raised RuntimeError: no such tool"
    )
    assert json.loads((tmp_path / "state.json").read_text())["status"] == "failed"
    # Mended, it goes on from there.
    play(tiny(model, *changes, "policy.params={said: look}"), folder=tmp_path, resume=True)
    assert dict(read_metrics(tmp_path))[1]["real/failures"] == 0


def test_a_bug_in_the_world_model_is_no_dream(model: Path, tmp_path: Path) -> None:
    broken = "world_model.name=tests.e2e.faulty_parts:BrokenModel"
    with pytest.raises(BrokenDreamError, match=r"dream evaluation0.*RuntimeError: mat1") as stopped:
        play(tiny(model, broken), folder=tmp_path)
    assert isinstance(stopped.value.__cause__, RuntimeError)


@pytest.mark.parametrize(
    "changes",
    [
        ["rounds=0"],
        ["rounds=1", "world.max_turns=1"],
        ["rounds=1", "real.demonstrations=0"],
        ["rounds=1", "real.explorations=0"],
        ["rounds=1", "imagination.episodes_per_round=0"],
        ["rounds=1", "real.demonstrations=0", "real.explorations=0", "real.episodes_per_round=0"],
        ["rounds=1", "evaluation.num_tasks=0", "evaluation.fidelity_episodes=0"],
        ["rounds=2", "evaluation.imagined=false", "evaluation.every=2"],
        ["rounds=1", "max_real_steps=5"],
    ],
    ids=lambda changes: " ".join(changes[-2:]),
)
def test_a_run_with_something_left_out_completes(
    changes: list[str], model: Path, tmp_path: Path
) -> None:
    screen = play(tiny(model, *changes), folder=tmp_path)
    assert "nan" not in screen.lower() and "Real" in screen


def test_memory_does_not_grow_with_the_rounds(model: Path, tmp_path: Path) -> None:
    """Measured three times: 3 to 6 MiB from round 10 to 30, then level up to round 60."""
    config = tiny(
        model, "evaluation.every=100", "real.episodes_per_round=2", "replay.max_transitions=20",
        "imagination.batches_per_round=1", "imagination.episodes_per_round=4",
    )  # fmt: skip
    sizes: dict[int, float] = {}
    with opened(config, folder=tmp_path) as (made, _):
        for round, _ in made.loop.run(first_round=0, last_round=30):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            sizes[round] = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert sizes[30] - sizes[10] < 12, sizes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only the administrator may mount a small disk")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=False)


def test_a_full_disk_ends_the_run_and_spoils_nothing(
    small_disk: Path, model: Path, tmp_path: Path
) -> None:
    folder = small_disk / "run"
    play(tiny(model, "rounds=0"), folder=folder)
    before = state_of(folder)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"0" * (free - 100_000))
    with pytest.raises(OSError, match="No space left"):
        play(tiny(model, "rounds=1"), folder=folder, resume=True)
    newest = checkpoint.latest(folder)
    assert newest is not None and newest.name == "round_000000" and state_of(folder) == before
    ballast.unlink()
    play(tiny(model, "rounds=1"), folder=folder, resume=True)
    play(tiny(model, "rounds=1"), folder=tmp_path / "undisturbed")
    assert metrics_of(folder) == metrics_of(tmp_path / "undisturbed")
