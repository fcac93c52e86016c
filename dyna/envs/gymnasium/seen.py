"""What an environment of Gymnasium showed at one point, and how it is told in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import gymnasium


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that `reset` or `step` returned."""

    observation: Any
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reward: float | None = None
    """None at the start of an episode."""
    terminated: bool = False
    truncated: bool = False


class Describe(Protocol):
    """Tells what was seen; `env` is the whole environment, wrappers included."""

    def __call__(self, seen: Seen, *, env: gymnasium.Env[Any, Any]) -> str: ...


def as_text(seen: Seen, *, env: gymnasium.Env[Any, Any]) -> str:
    """For environments whose observations are text."""
    return str(seen.observation)


__all__ = ["Describe", "Seen", "as_text"]
