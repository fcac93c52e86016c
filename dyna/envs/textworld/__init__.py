"""TextWorld's generated text games. Here `import textworld` is the real package, never this room.

Nothing in this room imports it before a world is made.
"""

from __future__ import annotations

from dyna.envs.textworld.challenges import CHALLENGES
from dyna.envs.textworld.env import TextWorldEnv
from dyna.envs.textworld.world import TextWorldWorld

__all__ = ["CHALLENGES", "TextWorldEnv", "TextWorldWorld"]
