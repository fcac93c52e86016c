"""The log on the screen never floods, and what is shown of a run can be read by others."""

from __future__ import annotations

import json
import logging
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from experiments.screen import Rarely
from experiments.watch import Interrupted, Progress


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("dyna", logging.WARNING, "", 0, text, args, None)


def test_what_recurs_is_said_the_first_and_every_power_of_ten_th_time() -> None:
    rarely = Rarely()
    told = [
        told.getMessage()
        for told in (record("%d of 64 episodes failed", number) for number in range(1, 201))
        if rarely.filter(told)
    ]
    assert told == [
        "1 of 64 episodes failed",
        "10 of 64 episodes failed (said 10 times by now)",
        "100 of 64 episodes failed (said 100 times by now)",
    ]


def test_what_differs_in_words_is_said_each_time() -> None:
    rarely = Rarely()
    assert rarely.filter(record("skipping round_000003"))
    assert rarely.filter(record("skipping round_000002"))


def test_the_state_of_a_run_is_there_for_others_to_read(tmp_path: Path) -> None:
    def state() -> dict[str, object]:
        return json.loads((tmp_path / "state.json").read_text())

    screen = StringIO()
    progress = Progress(rounds=2, console=Console(file=screen, width=100), folder=tmp_path)
    with pytest.raises(Interrupted), progress.running():
        progress.begin_round(1)
        with progress.phase("imagine", total=8):
            assert (state()["status"], state()["round"], state()["rounds"]) == ("running", 1, 2)
            assert state()["phase"] == "imagine"
        progress.end_round("round 1: done")
        raise Interrupted(15)
    assert (state()["status"], state()["phase"]) == ("stopped", "imagine")
    assert screen.getvalue() == "round 1: done (< 1 s so far, about < 1 s left)\n"


def test_a_full_disk_does_not_end_a_run_for_want_of_a_note(tmp_path: Path) -> None:
    progress = Progress(rounds=1, console=Console(file=StringIO()), folder=tmp_path / "gone")
    reached = False
    with progress.running(), progress.phase("act", total=1):
        reached = True
    assert reached
    assert not (tmp_path / "gone").exists()
