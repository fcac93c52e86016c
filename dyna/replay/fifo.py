"""The newest experience: the oldest trajectory leaves first."""

from __future__ import annotations

from dyna.replay.buffer import TrajectoryBuffer
from dyna.replay.shelf import Entry


class FifoBuffer(TrajectoryBuffer):
    """The last trajectories that fit.

    Example: `FifoBuffer(max_transitions=100)` after ten episodes of 20 turns holds the last five.
    """

    name = "fifo"

    def _forget(self) -> Entry:
        return self._shelf.entries[0]
