"""May a freshly trained world model go live? Not if it has forgotten what the old one knew.

Candidate and live model predict the same held-out real turns of past rounds; turn by turn the
pairing shows what was lost and what was gained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dyna.config import GateConfig
from dyna.evaluation.fidelity import TurnScore

_SLACK = 1e-9
"""A fall of exactly `max_drop` is let through, rounding or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateVerdict:
    """Example: of 200 old turns the live model has 190 right and the candidate 180, 14 lost and 4
    gained: with `max_drop=0.02` it is refused."""

    accepted: bool
    abstained: bool
    """There were too few turns to judge by, so the candidate was let through."""
    old_em: float
    """Exact match of the live model; NaN without turns."""
    new_em: float
    """Exact match of the candidate; NaN without turns."""
    num_turns: int
    lost: int
    """Turns that the live model has right and the candidate wrong."""
    gained: int


def judge(old: Sequence[TurnScore], *, new: Sequence[TurnScore], config: GateConfig) -> GateVerdict:
    """Compare live (`old`) and candidate (`new`) on the same turns, in the same order.

    Raises `ValueError` when the turns are not the same.
    """
    if [s.trajectory_id for s in old] != [s.trajectory_id for s in new]:
        raise ValueError(
            f"live and candidate must be scored on the same turns, got {len(old)} and {len(new)}"
        )
    num_turns = len(old)
    lost = sum(a.exact and not b.exact for a, b in zip(old, new, strict=True))
    gained = sum(b.exact and not a.exact for a, b in zip(old, new, strict=True))
    abstained = num_turns < max(config.min_turns, 1)
    drop = (lost - gained) / num_turns if num_turns else 0.0
    return GateVerdict(
        accepted=abstained or drop <= config.max_drop + _SLACK,
        abstained=abstained,
        old_em=_rate(old),
        new_em=_rate(new),
        num_turns=num_turns,
        lost=lost,
        gained=gained,
    )


def _rate(scores: Sequence[TurnScore]) -> float:
    return sum(score.exact for score in scores) / len(scores) if scores else math.nan


__all__ = ["GateVerdict", "judge"]
