"""Seconds in words."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Example: `duration(75)` is "1 min 15 s"."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "< 1 s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"


__all__ = ["duration"]
