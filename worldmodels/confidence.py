"""How sure a model was of what it wrote, in one number.

A sentence is right only if all of it is, so the least likely token decides by default. It ranks
predictions; it is no calibrated probability of being right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum


class Confidence(StrEnum):
    MIN = "min"
    """The probability of the least likely token."""
    MEAN = "mean"
    """The geometric mean of the tokens' probabilities, which forgives one doubt in a long text."""


def confidence(log_probs: Sequence[float], *, kind: Confidence = Confidence.MIN) -> float:
    """In [0, 1], of the natural-log probabilities of an answer's tokens; 0 for no tokens."""
    if not log_probs:
        return 0.0
    mean = math.fsum(log_probs) / len(log_probs)
    # Rounding can push a certain token's log-prob a hair above 0.
    return math.exp(min(0.0, min(log_probs) if kind is Confidence.MIN else mean))
