"""Buffers of real experience: what to keep, what to forget, and how both reach the disk."""

from dyna.replay.fifo import FifoBuffer
from dyna.replay.parquet import TrajectoryFileError, read_trajectories, write_trajectories
from dyna.replay.reservoir import ReservoirBuffer
from dyna.replay.task_balanced import TaskBalancedBuffer

__all__ = [
    "FifoBuffer",
    "ReservoirBuffer",
    "TaskBalancedBuffer",
    "TrajectoryFileError",
    "read_trajectories",
    "write_trajectories",
]
