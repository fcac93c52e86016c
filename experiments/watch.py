"""Progress on screen: which phase, how far, how long still; and the way to stop a run."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress as Bars,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dyna.types import Trajectory


class Interrupted(Exception):
    """The run was told to stop. What was committed is on the disk; `dyna resume` goes on."""


class Progress:
    """Satisfies `dyna.loop.Watch`; raises `Interrupted` at the next tick after SIGTERM.

    Between two ticks at most one optimizer step or one engine batch passes. The checkpoint of the
    last round and the journal of real episodes are on the disk already, so nothing is lost.
    """

    def __init__(self, *, rounds: int, console: Console) -> None:
        self._rounds = rounds
        self._stop = False
        self._label = ""
        self._task: TaskID | None = None
        self.bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=False,
        )
        self._whole = self.bars.add_task("whole run", total=rounds + 1)
        self._round = -1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the bars, and take SIGTERM as a wish to stop."""
        before = signal.signal(signal.SIGTERM, self._on_signal)
        try:
            with self.bars:
                yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def begin_round(self, round: int) -> None:
        self._round = round
        self.bars.update(self._whole, completed=round)

    @contextmanager
    def phase(self, name: str, *, total: int) -> Iterator[None]:
        self.check()
        label = f"round {self._round}/{self._rounds} {name}"
        self._task = self.bars.add_task(label, total=total or None)
        try:
            yield
        finally:
            self.bars.remove_task(self._task)
            self._task = None

    def on_episode(self, _: Trajectory) -> None:
        self.check()
        if self._task is not None:
            self.bars.advance(self._task)

    def on_step(self, done: int, total: int) -> None:
        self.check()
        if self._task is not None:
            self.bars.update(self._task, completed=done, total=total)

    def check(self) -> None:
        if self._stop:
            raise Interrupted

    def _on_signal(self, _: int, __: FrameType | None) -> None:
        self._stop = True
