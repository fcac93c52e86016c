"""ScienceWorld's simulated laboratory: many episodes in one capped Java process."""

from __future__ import annotations

from dyna.envs.jvm import JavaError
from dyna.envs.scienceworld.simulator import Lesson
from dyna.envs.scienceworld.task_list import SPLITS, TASK_TYPES, TaskType
from dyna.envs.scienceworld.text import MAX_COMMAND
from dyna.envs.scienceworld.world import ScienceWorld, ScienceWorldEnv

__all__ = [
    "MAX_COMMAND",
    "SPLITS",
    "TASK_TYPES",
    "JavaError",
    "Lesson",
    "ScienceWorld",
    "ScienceWorldEnv",
    "TaskType",
]
