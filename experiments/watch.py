"""Progress on screen and in `state.json`: which phase, how far, how long still; and how to stop.

Where the output is no terminal there are no bars; the lines that a run prints say the same.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from dyna.rllib.failures import LostLearnerError
from dyna.types import Trajectory
from experiments.durations import duration

STATE_FILE = "state.json"


class Interrupted(Exception):
    """The run was told to stop. What was committed is on the disk; `dyna resume` goes on."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


class Progress:
    """Satisfies `dyna.loop.Watch`; raises `Interrupted` at the next tick after SIGTERM or SIGINT.

    A tick is the end of an episode or of an optimizer step. The checkpoint of the last round and
    the journal of real episodes are on the disk already, so nothing is lost. A second SIGINT ends
    the run at once.

    `state.json` in the run's folder says what goes on: `{"status": "running", "round": 2,
    "rounds": 6, "phase": "imagine", "pid": 4711}`; `status` ends as `done`, `stopped` or `failed`,
    and is `recovering` while lost learners are replaced.
    """

    def __init__(self, *, rounds: int, console: Console, folder: Path) -> None:
        self._rounds = rounds
        self._folder = folder
        self._signum = 0
        self._task: TaskID | None = None
        self._began_at = time.monotonic()
        self._first_round = 0
        self.bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._whole = self.bars.add_task("whole run", total=rounds + 1)
        self._round = -1
        self._phase = "start"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the bars, and take SIGTERM and SIGINT as a wish to stop."""
        signals = (signal.SIGTERM, signal.SIGINT)
        before = {signum: signal.signal(signum, self._on_signal) for signum in signals}
        status = "failed"
        try:
            with self.bars:
                yield
            status = "done"
        except (Interrupted, KeyboardInterrupt):
            status = "stopped"
            raise
        except LostLearnerError:
            status = "recovering"
            raise
        finally:
            self.note(status)
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def begin_round(self, round: int) -> None:
        if self._round < 0:
            self._first_round, self._began_at = round, time.monotonic()
        self._round = round
        self.bars.update(self._whole, completed=round)

    def end_round(self, line: str) -> None:
        """Print `line` with how long the rounds took so far and how long the rest may take."""
        spent = time.monotonic() - self._began_at
        num_done, num_left = self._round + 1 - self._first_round, self._rounds - self._round
        told = f"{duration(spent)} so far"
        if num_left:
            told += f", about {duration(spent / num_done * num_left)} left"
        self.bars.console.print(f"{line} ({told})", soft_wrap=True, highlight=False)

    @property
    def round(self) -> int:
        """The one that goes on; -1 before the first."""
        return self._round

    def begin_checkpoint(self) -> None:
        """A round that is played is saved before anybody may stop the run."""
        self._phase = "checkpoint"
        self.note("running")

    @contextmanager
    def phase(self, name: str, *, total: int) -> Iterator[None]:
        """A phase inside another one interrupts it."""
        outer, outer_task = self._phase, self._task
        self._phase = name
        self.note("running")
        self.check()
        label = f"round {self._round}/{self._rounds} {name}"
        self._task = self.bars.add_task(label, total=total or None)
        try:
            yield
        finally:
            self.bars.remove_task(self._task)
            self._task = outer_task
            if outer_task is not None:
                self._phase = outer

    def on_episode(self, _: Trajectory) -> None:
        self.check()
        if self._task is not None:
            self.bars.advance(self._task)

    def on_step(self, done: int, total: int) -> None:
        self.check()
        if self._task is not None:
            self.bars.update(self._task, completed=done, total=total)

    def check(self) -> None:
        if self._signum:
            raise Interrupted(self._signum)

    def _on_signal(self, signum: int, _: FrameType | None) -> None:
        if signum == signal.SIGINT and self._signum == signal.SIGINT:
            raise KeyboardInterrupt
        self._signum = signum

    def note(self, status: str) -> None:
        """Write `state.json`; unforced, for it is for whoever looks and nothing is read back."""
        state = {
            "status": status,
            "round": self._round,
            "rounds": self._rounds,
            "phase": self._phase,
            "pid": os.getpid(),
        }
        draft = self._folder / f".{STATE_FILE}.draft"
        try:
            draft.write_text(json.dumps(state) + "\n", encoding="utf-8")
            draft.replace(self._folder / STATE_FILE)
        except OSError:
            # A full disk must end the run where state is kept, with that error, not here.
            draft.unlink(missing_ok=True)
