"""The judge of the fault matrix finds what it must find, and so does its census."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dyna import checkpoint
from dyna.ledger import Ledger
from dyna.replay.parquet import write_trajectories
from dyna.tracking import Tracker
from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn
from experiments.chaos.cells import DANGEROUS, MATRIX, PHASES, TOGETHER, find
from experiments.chaos.comparing import differences
from experiments.chaos.page import page
from experiments.chaos.processes import Census, send

TASK = Task(id="corridor/train/0", world="corridor", family="corridor", split="train", seed=0)


def episode(id: str, *, source: Source = Source.REAL, log_prob: float = -0.5) -> Trajectory:
    action = Action(command="go left", token_ids=(5, 2), log_probs=(log_prob, -0.1))
    outcome = Outcome(observation="You are outside.", reward=1.0, terminated=True, success=True)
    return Trajectory(
        id=id,
        task=TASK,
        start=Start(observation="You are in room 1."),
        turns=(Turn(action=action, outcome=outcome),),
        stop=StopReason.TERMINATED,
        source=source,
        group_id=id.rpartition("/")[0],
        round=1,
    )


def real(index: int) -> Trajectory:
    return episode(f"round1/policy0/{index}")


def committed_run(
    folder: Path, change: Callable[[Trajectory], Trajectory] = lambda unchanged: unchanged
) -> Path:
    """What a run of one group of two leaves behind; `change` is done to its first episode."""
    group = [change(real(0)), real(1)]
    ledger = Ledger()
    for trajectory in group:
        ledger.enter(trajectory)
    for place in ("run/experience", "noted"):
        (folder / place).mkdir(parents=True)
        write_trajectories(folder / place / "round1_policy0.parquet", group)
    tracker = Tracker(folder / "run")
    tracker.log(1, ledger.metrics())
    tracker.close()
    checkpoint.save(folder / "run", round=1, parts={"ledger": ledger})
    return folder


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    return committed_run(tmp_path / "expected")


def told(run: Path, *, expected: Path, size: int = 2) -> list[str]:
    return differences(run, expected=expected, group_sizes={"real": size, "imagined": 4})


def test_a_run_that_came_to_the_same_end_differs_in_nothing(expected: Path, tmp_path: Path) -> None:
    run = committed_run(tmp_path / "run", lambda t: episode(t.id, log_prob=-0.5 - 1e-6))
    assert told(run, expected=expected) == []


def with_outcome(trajectory: Trajectory, **changes: object) -> Trajectory:
    turn = trajectory.turns[0]
    changed = replace(turn, outcome=replace(turn.outcome, **changes))  # type: ignore[arg-type]
    return replace(trajectory, turns=(changed,))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: with_outcome(t, reward=2.0), "went otherwise"),
        (lambda t: with_outcome(t, observation="You fell."), "went otherwise"),
        (lambda t: with_outcome(t, success=False), "real_wins"),
        (lambda t: episode(t.id, log_prob=-0.6), "the log-probs of round1/policy0/0 differ by 0.1"),
        (lambda t: replace(t, id="round1/policy0/9"), "only one of the runs has"),
    ],
)  # fmt: skip
def test_every_difference_is_told(
    change: Callable[[Trajectory], Trajectory], words: str, expected: Path, tmp_path: Path
) -> None:
    found = told(committed_run(tmp_path / "run", change), expected=expected)
    assert words in " ".join(found)


def test_a_group_that_is_not_whole_is_told(expected: Path, tmp_path: Path) -> None:
    found = told(committed_run(tmp_path / "run"), expected=expected, size=3)
    assert found == ["round1_policy0 was learned from with 2 of 3 members"]


def test_an_episode_that_is_committed_twice_is_refused(expected: Path, tmp_path: Path) -> None:
    run = committed_run(tmp_path / "run")
    write_trajectories(run / "run" / "experience" / "again.parquet", [real(0)])
    with pytest.raises(ValueError, match="round1/policy0/0 is committed twice"):
        told(run, expected=expected)


def test_a_census_finds_who_outlives_its_parent() -> None:
    code = "import subprocess; subprocess.Popen(['sleep', '60']); input()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    census = Census()
    while not any(process.title == "sleep 60" for process in census.count(parent.pid)):
        pass
    send(signal.SIGKILL, pids=[parent.pid])
    parent.wait()
    (left,) = census.left_after(0.5)
    assert left.title == "sleep 60"
    census.kill()
    assert census.left_after(5.0) == []


def test_the_matrix_is_whole_and_its_cells_are_found_by_name() -> None:
    killed = [cell for cell in MATRIX if cell.victim in {row.victim for row in TOGETHER}]
    assert len(killed) == 5 * len(PHASES)
    assert [find(cell.name) for cell in (*MATRIX, *TOGETHER)] == [*MATRIX, *TOGETHER]
    assert all(find(name) for name in DANGEROUS)
    with pytest.raises(ValueError, match="there is no cell 'runner:sleep'; there are runner:act"):
        find("runner:sleep")


def test_the_page_says_what_was_not_run_and_what_fails() -> None:
    common = {"hit": "round 1", "recovered_by": "itself", "seconds": 30.0}
    written = page(
        [
            {"cell": "runner:act", "problems": [], **common},
            {"cell": "engine:every", "problems": [], **common},
            {"cell": "learner:model", "problems": ["a group is torn"], **common},
        ]
    )
    assert "| runner | same, 30 s | not run |" in written
    assert "| engine | same, together | same, together |" in written
    assert "| learner | not run | **fails** |" in written
    assert "- `learner:model` does not hold: a group is torn" in written
    assert "2 of 3 runs hold" in written
