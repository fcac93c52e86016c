"""Buffers of real experience: what to keep, what to forget, and how both reach the disk."""

from dyna.replay.balanced import ExperienceBalancedBuffer, TaskBalancedBuffer
from dyna.replay.dark import DarkExperienceBuffer
from dyna.replay.dual import DualBuffer
from dyna.replay.fifo import FifoBuffer
from dyna.replay.gradients import GradientBuffer
from dyna.replay.parquet import (
    TrajectoryFileError,
    iter_parts,
    read_trajectories,
    write_trajectories,
)
from dyna.replay.prioritized import PrioritizedBuffer
from dyna.replay.reservoir import ReservoirBuffer
from dyna.replay.surprise import SurpriseBuffer

__all__ = [
    "DarkExperienceBuffer",
    "DualBuffer",
    "ExperienceBalancedBuffer",
    "FifoBuffer",
    "GradientBuffer",
    "PrioritizedBuffer",
    "ReservoirBuffer",
    "SurpriseBuffer",
    "TaskBalancedBuffer",
    "TrajectoryFileError",
    "iter_parts",
    "read_trajectories",
    "write_trajectories",
]
