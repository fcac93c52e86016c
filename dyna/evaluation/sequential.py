"""A test that may be looked at after every observation: is a mean of paired differences too large?

The evidence is the wealth of a gambler who bets, pair by pair, that the mean of the differences
exceeds a tolerance. Were it not so the game would be fair or worse, and wealth would reach 1/alpha
with a probability of alpha at most, EVER (Ville, 1939): no number of pairs need be fixed in
advance, and doubtful cases may be followed up. The bets are those of Waudby-Smith and Ramdas,
"Estimating means of bounded random variables by betting" (2024, arXiv 2010.09686), section 4: a
mixture of constant stakes.

What is watched may go wrong late. So the gambler divides the first coin over the rounds, one share
for each in which the change may begin, as the e-detectors of Shin, Ramdas and Rinaldo (2024, arXiv
2203.03532) restart; shares sum to one, so the bound stays one for the whole of the watch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STAKES = (0.1, 0.3, 0.5, 0.7, 0.95)
"""Shares of the largest stake that cannot ruin; each gets a part of the coin."""
_MAX_WEALTH = 1e300
"""Wealth is cut here: less than was won is no lie, infinity would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the pairs say against `mean difference <= tolerance`.

    Example: eight pairs of difference 1 in the first round, tolerance 0.1: wealth about 17.
    """

    wealth: float
    """Now. Against a fixed null hypothesis, an e-value: 1 is none, 1/alpha refutes at alpha."""
    peak: float
    """The largest it ever was; what crossed the bound once has crossed it."""
    num_pairs: int
    mean: float
    """Of all differences; NaN over none."""

    def refutes(self, alpha: float) -> bool:
        return self.peak >= 1.0 / alpha


def gap_evidence(rounds: Sequence[Sequence[float]], *, tolerance: float) -> Evidence:
    """Evidence that the mean of paired differences in [-1, 1] exceeds `tolerance`.

    `rounds` are the differences in the order of their observation, round by round; which pairs are
    looked at next, and how many, may depend on all that came before.

    Raises `ValueError` for a tolerance outside [0, 1) and for differences outside [-1, 1].
    """
    if not 0.0 <= tolerance < 1.0:
        raise ValueError(f"alarm.tolerance must be in [0, 1), got {tolerance}")
    null = (1.0 + tolerance) / 2.0  # of the differences, moved to [0, 1]
    stakes = [share / null for share in _STAKES]
    riches = [0.0] * len(stakes)
    unspent, wealth, peak = 1.0, 1.0, 1.0
    for number, differences in enumerate(rounds, start=1):
        # Shares 1/2, 1/6, 1/12, ... of the first coin; what is not yet at stake is kept.
        share = 1.0 / (number * (number + 1))
        riches = [held + share / len(stakes) for held in riches]
        unspent -= share
        for difference in differences:
            gain = _in_unit(difference) - null
            riches = [
                min(held * (1.0 + stake * gain), _MAX_WEALTH)
                for held, stake in zip(riches, stakes, strict=True)
            ]
            wealth = unspent + math.fsum(riches)
            peak = max(peak, wealth)
    seen = [difference for differences in rounds for difference in differences]
    return Evidence(
        wealth=wealth,
        peak=peak,
        num_pairs=len(seen),
        mean=math.fsum(seen) / len(seen) if seen else math.nan,
    )


def _in_unit(difference: float) -> float:
    if not -1.0 <= difference <= 1.0:
        raise ValueError(f"a paired difference must be in [-1, 1], got {difference}")
    return (difference + 1.0) / 2.0


__all__ = ["Evidence", "gap_evidence"]
