"""ALFWorld's official games, in the household engine or in ALFWorld's own."""

from __future__ import annotations

from dyna.envs.alfworld.problem import ProblemError, read_problem
from dyna.envs.alfworld.world import AlfworldWorld

__all__ = ["AlfworldWorld", "ProblemError", "read_problem"]
