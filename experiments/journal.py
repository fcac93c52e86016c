"""Real experience on the disk, from the moment it is played.

A round that is whole is one Parquet file. Until then its episodes lie beside it in parts, written
as they end, at most once a second: a run that is killed in the middle of a round finds them there
and spends only what is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dyna.replay.parquet import TrajectoryFileError, read_trajectories, write_trajectories
from dyna.types import Source, StopReason, Trajectory

_SECONDS_BETWEEN_PARTS = 1.0


class ExperienceJournal:
    """Real episodes by round; satisfies `dyna.loop.Journal`.

    `note` takes any episode as it ends and keeps the real ones of the round that was last read
    and is not yet written. An episode that the policy broke is not kept: it is played again when
    the policy is mended.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._round: int | None = None
        self._pending: list[Trajectory] = []
        self._written_at = 0.0

    def read(self, round: int) -> list[Trajectory] | None:
        """Raises `TrajectoryFileError` for a file that is damaged."""
        self._round, self._pending = round, []
        whole = self._whole(round)
        # A round that was whole may be added to: then parts lie beside it once more.
        paths = [*([whole] if whole.exists() else []), *self._parts(round)]
        try:
            found = [trajectory for path in paths for trajectory in read_trajectories(path)]
        except TrajectoryFileError as error:
            raise TrajectoryFileError(
                f"{error}; without a copy delete it, and the real episodes in it are played, and "
                "spent, again"
            ) from error
        return list({t.id: t for t in found}.values()) if paths else None

    def note(self, trajectory: Trajectory) -> None:
        if self._round is None or trajectory.source is not Source.REAL:
            return
        if trajectory.stop is StopReason.POLICY_ERROR:
            return
        self._pending.append(trajectory)
        if self._clock() - self._written_at >= _SECONDS_BETWEEN_PARTS:
            self.flush()

    def flush(self) -> None:
        """Put on the disk what was noted."""
        if self._round is None or not self._pending:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(self._parts(self._round))
        write_trajectories(self._part(self._round, number), self._pending)
        self._pending = []
        self._written_at = self._clock()

    def write(self, round: int, trajectories: Sequence[Trajectory]) -> None:
        """The round is whole; its parts are no longer needed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_trajectories(self._whole(round), trajectories)
        for part in self._parts(round):
            part.unlink()
        self._round, self._pending = None, []

    def _whole(self, round: int) -> Path:
        return self._folder / f"round_{round:06d}.parquet"

    def _part(self, round: int, number: int) -> Path:
        return self._folder / f"round_{round:06d}.part{number:06d}.parquet"

    def _parts(self, round: int) -> list[Path]:
        return sorted(self._folder.glob(f"round_{round:06d}.part*.parquet"))
