"""A server of somebody else's: OpenEnv's own classes, fields of its own, nothing of ours.

    python tests/worlds/echo_server.py PORT

It counts down from the seed; `move` must be `down` or `hide`, and other words are refused.
"""
# Its libraries come with an extra.
# pyright: reportMissingImports=false

from __future__ import annotations

import sys
import time
from typing import Any, Literal

import uvicorn
from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, Observation, State
from pydantic import Field


class Move(Action):
    move: str = Field(min_length=1, max_length=1000)
    style: Literal["slow", "fast"] = "fast"


class Count(Observation):
    prompt: str
    note: str = ""
    log: list[dict[str, Any]] = Field(default_factory=list)
    late: bool = False


class Countdown(Environment):
    """Won at 0; cut after six moves; `break` raises and `hang` takes long."""

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self) -> None:
        super().__init__()
        self.left = self.moves = 0

    def reset(self, seed: int | None = None, episode_id: str | None = None, **_: Any) -> Count:
        self.left, self.moves = 1 + (seed or 0) % 5, 0
        return self._count()

    def step(self, action: Move, timeout_s: float | None = None, **_: Any) -> Count:
        self.moves += 1
        if action.move == "break":
            raise ValueError("broken on purpose")
        if action.move == "hang":
            time.sleep(30)
        self.left -= action.move == "down"
        return self._count(won=self.left <= 0, late=self.left > 0 and self.moves >= 6)

    def _count(self, *, won: bool = False, late: bool = False) -> Count:
        return Count(
            prompt=f"{self.left} left",
            note="hurry" if self.moves else "",
            log=[{"said": f"{self.left} to go"}],
            late=late,
            reward=1.0 if won else 0.0,
            done=won or late,
        )

    @property
    def state(self) -> State:
        return State(step_count=self.moves)


if __name__ == "__main__":
    app = create_app(Countdown, Move, Count, env_name="countdown", max_concurrent_envs=8)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
