"""TextWorldExpress: fast text games on Java, started when one of its worlds is made."""

from __future__ import annotations

from dyna.envs.textworld_express.world import TextWorldExpressEnv, TextWorldExpressWorld

__all__ = ["TextWorldExpressEnv", "TextWorldExpressWorld"]
