"""What a check finds: one figure, what it is held against, and the details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    PASS = "pass"
    MISS = "miss"
    """It ran, and its figure is not what it should be."""
    FAILED = "failed"
    """It broke, or took too long."""
    SKIPPED = "skipped"
    """The machine lacks what it needs."""
    NOT_RUN = "not run"


class CannotRunError(RuntimeError):
    """The machine lacks what a check needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Example: 5,200 of the 6,000 tokens/s that memory bandwidth allows, 0.5 of them wanted."""

    measured: float
    unit: str
    bound: float | None = None
    """The most that the device allows, in the same unit, by rates measured on it; None where there
    is no such bound."""
    goal: float | None = None
    """Of `ratio`, from below; None where nothing is asked of it."""
    passed: bool | None = None
    """Where something else decides than the ratio."""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def ratio(self) -> float | None:
        return None if self.bound is None else self.measured / self.bound

    @property
    def status(self) -> Status:
        if self.passed is not None:
            return Status.PASS if self.passed else Status.MISS
        if self.ratio is None or self.goal is None:
            return Status.PASS
        return Status.PASS if self.ratio >= self.goal else Status.MISS

    def to_json(self) -> dict[str, Any]:
        return {"status": self.status.value, "ratio": self.ratio, **asdict(self)}


__all__ = ["CannotRunError", "Finding", "Status"]
