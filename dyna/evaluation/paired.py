"""Two models on the same turns: which one is worse, by more than a margin?

A pair of predictions is lost (the old model right, the new one wrong), gained, or neither. Both
tests ask two questions and give a p-value for each: is the new model shown to be worse by more than
the margin, and is it shown not to be (non-inferiority)? With few turns neither is shown.
"""

# scipy carries no types: what it returns is unknown to the checker.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from dyna.seeding import generator

_NUM_NUISANCE = 128
"""Shares of discordant pairs at which the exact test takes its largest p-value."""
_TIE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """Example: of 200 turns 14 lost, 4 gained, margin 0.02: `drop` is 0.05, `p_worse` 0.11."""

    drop: float
    """The share of turns right that was lost, net; or what was compared instead, per turn."""
    p_worse: float
    """Of the hypothesis that the drop is at most the margin: small shows that it is larger."""
    p_safe: float
    """Of the hypothesis that the drop is at least the margin: small shows that it is smaller."""


@lru_cache(maxsize=4096)
def mcnemar(*, lost: int, gained: int, num: int, margin: float = 0.0) -> PairedTest:
    """McNemar's comparison of paired proportions, exact, one-sided, with a margin.

    The unconditional exact test of Hsueh, Liu and Chen (Biometrics 2001) in the order of Tango's
    score (Statistics in Medicine 1998): the largest probability, over the unknown share of
    discordant pairs, of a table as extreme as this one. At most a share `level` of all true
    hypotheses is rejected, however few the turns, as long as turns are independent of each other;
    turns of one episode are not quite (`cluster_bootstrap`).

    Raises `ValueError` for counts that are none, or a margin outside [0, 1).
    """
    if lost < 0 or gained < 0 or lost + gained > num or num < 1:
        raise ValueError(
            f"lost and gained turns must be parts of at least one, got {lost} and {gained} of {num}"
        )
    _check_margin(margin)
    return PairedTest(
        drop=(lost - gained) / num,
        p_worse=_p_exceeds(lost, against=gained, num=num, shift=margin),
        p_safe=_p_exceeds(gained, against=lost, num=num, shift=-margin),
    )


def cluster_bootstrap(
    differences: Sequence[float],
    *,
    clusters: Sequence[str],
    margin: float = 0.0,
    seed: int,
    num_resamples: int = 2000,
) -> PairedTest:
    """Paired bootstrap that draws whole episodes, for turns of one episode share their luck.

    `differences` are 1 for a lost turn, -1 for a gained one, else 0, or how much the loss of each
    turn grew; `clusters` name each turn's episode. Episodes are drawn with replacement and the drop
    computed anew (Field and Welsh, JRSS B 2007; a p-value is the share of resamples on the other
    side of the margin, itself counted in, as in Davison and Hinkley 1997, 4.4). With fewer than
    about 20 episodes it is too sure of itself.

    Raises `ValueError` for sequences of different or no length, or a margin below 0.
    """
    if len(differences) != len(clusters) or not differences:
        raise ValueError(
            "a bootstrap needs turns, each with its episode, got "
            f"{len(differences)} and {len(clusters)}"
        )
    if not margin >= 0:
        raise ValueError(f"margin must be >= 0, got {margin}")
    sums: dict[str, list[float]] = {}
    for difference, cluster in zip(differences, clusters, strict=True):
        entry = sums.setdefault(cluster, [0.0, 0.0])
        entry[0] += difference
        entry[1] += 1
    table = np.array(list(sums.values()), dtype=float)  # [E, 2] net loss and turns
    drop = float(table[:, 0].sum() / table[:, 1].sum())
    drawn = generator(seed, "bootstrap").integers(len(table), size=(num_resamples, len(table)))
    resampled = table[drawn].sum(axis=1)  # [R, 2]
    drops = resampled[:, 0] / resampled[:, 1]
    return PairedTest(
        drop=drop,
        p_worse=float((1 + np.sum(drops <= margin + _TIE)) / (1 + num_resamples)),
        p_safe=float((1 + np.sum(drops >= margin - _TIE)) / (1 + num_resamples)),
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for the number of questions asked at once, in their order (Holm 1979).

    Example: `holm([0.01, 0.04, 0.03])` is `[0.03, 0.06, 0.06]`.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _p_exceeds(wins: int, *, against: int, num: int, shift: float) -> float:
    """Of the hypothesis that P(win) - P(loss) <= shift.

    Given `m` discordant pairs the wins are binomial, and the score grows with them: a table is as
    extreme as ours from a number of wins on that is found for each `m`.
    """
    m = np.arange(num + 1)
    ours = _score(np.array([wins]), losses=np.array([against]), num=num, shift=shift)[0]
    first = _first_extreme(m, at_least=ours - _TIE, num=num, shift=shift)  # [num + 1]
    grid = np.linspace(abs(shift), 1.0, _NUM_NUISANCE + 1)[1 if shift == 0 else 0 :]
    # What the data say of the nuisance is between two points of the grid.
    likely = max((wins + against) / num, abs(shift))
    grid = np.append(grid, likely) if likely > 0 else grid
    theta = (grid + shift) / (2 * grid)  # [G] share of wins among discordant pairs
    tail = stats.binom.sf(first[None, :] - 1, m[None, :], theta[:, None])
    weights = stats.binom.pmf(m[None, :], num, grid[:, None])
    return float(min(1.0, (tail * weights).sum(axis=1).max()))


def _first_extreme(m: np.ndarray, *, at_least: float, num: int, shift: float) -> np.ndarray:
    """For each number of discordant pairs, the fewest wins that score `at_least`; m + 1 if none."""
    low, high = np.zeros_like(m), m + 1
    while (low < high).any():
        middle = (low + high) // 2
        inside = np.minimum(middle, m)
        score = _score(inside, losses=m - inside, num=num, shift=shift)
        reached = (score >= at_least) | (middle > m)
        high = np.where((low < high) & reached, middle, high)
        low = np.where((low < high) & ~reached, middle + 1, low)
    return low


def _score(wins: np.ndarray, *, losses: np.ndarray, num: int, shift: float) -> np.ndarray:
    """Tango's score of `P(win) - P(loss) = shift`, its variance that of the restricted estimate."""
    b = -wins - losses + (2 * num - wins + losses) * shift
    c = -losses * shift * (1 - shift)
    q = (np.sqrt(np.maximum(b * b - 8 * num * c, 0.0)) - b) / (4 * num)
    variance = num * np.maximum(2 * q + shift * (1 - shift), 0.0)
    distance = wins - losses - num * shift
    # Without variance, so with a margin of 0 and no discordant pair, there is no distance.
    return np.where(variance > 0, distance / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)


def _check_margin(margin: float) -> None:
    if not 0 <= margin < 1:
        raise ValueError(f"margin must be in [0, 1), got {margin}")


__all__ = ["PairedTest", "cluster_bootstrap", "holm", "mcnemar"]
