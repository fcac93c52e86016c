"""Collections on Ray actors: the same episodes, whoever dies on the way."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from dyna.envs.corridor import CorridorEnv, CorridorWorld
from dyna.types import Start, Task, Trajectory
from experiments.cli import MISTAKE, main
from experiments.collect import collect
from experiments.collecting.config import load_collect
from experiments.collecting.folder import MANIFEST_FILE, collected

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

HOUSE = ("world.params.admissible=true", "world.max_turns=8", "episodes_per_part=8")


class CrashWorld(CorridorWorld):
    """Takes its process along in the third task, as a segfault would."""

    def make(self) -> CrashEnv:
        return CrashEnv(self.way, max_turns=20)


class CrashEnv(CorridorEnv):
    async def reset(self, task: Task) -> Start:
        if task.seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().reset(task)


class AbroadWorld(CorridorWorld):
    """Can be made in the process that asks for it first, and nowhere else."""

    def __init__(self, *, pid: int) -> None:
        super().__init__()
        if os.getpid() != pid:
            raise ValueError("pid must be that of this process; give another")


def gather(folder: Path, *changes: str) -> list[Trajectory]:
    collect(load_collect(overrides=changes), folder=folder)
    return list(collected(folder))


def test_workers_play_what_one_process_would(tmp_path: Path) -> None:
    changes = [*HOUSE, "episodes=16"]
    here = gather(tmp_path / "here", *changes)
    assert here == gather(tmp_path / "there", *changes, "num_workers=2")
    for name in ("coverage.json", "ledger.json"):
        assert (tmp_path / "here" / name).read_text() == (tmp_path / "there" / name).read_text()


def test_an_episode_that_takes_its_worker_along_is_lost_and_no_other(tmp_path: Path) -> None:
    world = "world.name=tests.cluster.test_collect_workers:CrashWorld"
    played = gather(
        tmp_path, world, "shares.random=1", "episodes=6", "episodes_per_part=3", "num_workers=1"
    )
    assert [t.stop.value for t in played].count("lost") == 1
    assert played[2].stop.value == "lost" and "process died" in played[2].error
    manifest = json.loads((tmp_path / MANIFEST_FILE).read_text())
    assert [part["failures"] for part in manifest["parts"]] == [1, 0]
    assert json.loads((tmp_path / "ledger.json").read_text())["tallies"]["real"]["episodes"] == 6


def test_what_cannot_be_made_in_a_worker_is_told_as_it_is_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world = "tests.cluster.test_collect_workers:AbroadWorld"
    settings = [f"world.params.pid={os.getpid()}", "shares.random=1", "episodes=2", "num_workers=1"]
    assert main(["collect", world, *settings, "--out", str(tmp_path)]) in (1, MISTAKE)
    said = " ".join(capsys.readouterr().err.split())
    assert "pid must be that of this process; give another" in said and "Traceback" not in said
