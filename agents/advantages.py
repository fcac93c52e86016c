"""Returns and advantages: pure functions on lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev


def discounted_returns(rewards: Sequence[float], *, gamma: float) -> list[float]:
    """G_t = r_t + gamma * G_{t+1} for every turn, `[N]` to `[N]`.

    Example: `discounted_returns([0, 0, 1], gamma=0.5) == [0.25, 0.5, 1.0]`
    """
    returns: list[float] = []
    following = 0.0
    for reward in reversed(rewards):
        following = reward + gamma * following
        returns.append(following)
    return returns[::-1]


def leave_one_out(returns: Sequence[float]) -> list[float]:
    """Each return minus the mean of the others, `[G]` to `[G]`; 0 for one alone.

    Example: `leave_one_out([1, 0, 0]) == [1.0, -0.5, -0.5]`
    """
    if len(returns) < 2:
        return [0.0] * len(returns)
    total = sum(returns)
    return [value - (total - value) / (len(returns) - 1) for value in returns]


def group_relative(returns: Sequence[float], *, normalize_std: bool) -> list[float]:
    """Each return minus the group's mean, divided by its standard deviation if asked, `[G]`.

    The deviation is that of the group itself (ddof 0). A group of equals gives zeros.
    Example: `group_relative([1, 0, 0, 1], normalize_std=True) == [1.0, -1.0, -1.0, 1.0]`
    """
    if not returns:
        return []
    mean = fmean(returns)
    spread = pstdev(returns, mean)
    if is_constant(returns):
        return [0.0] * len(returns)
    return [(value - mean) / (spread if normalize_std else 1.0) for value in returns]


def gae(
    rewards: Sequence[float], *, values: Sequence[float], gamma: float, lam: float
) -> list[float]:
    """Generalized advantage estimation (Schulman et al., arXiv 1506.02438) over turns, `[N]`.

    `values[t]` is the value before turn t; after the last turn it is 0, whether the episode ended
    or was cut.
    """
    advantages: list[float] = []
    advantage, next_value = 0.0, 0.0
    for reward, value in zip(reversed(rewards), reversed(values), strict=True):
        advantage = reward + gamma * next_value - value + gamma * lam * advantage
        next_value = value
        advantages.append(advantage)
    return advantages[::-1]


def is_constant(returns: Sequence[float]) -> bool:
    """No two differ by more than rounding: there is nothing to prefer."""
    return max(returns) - min(returns) <= 1e-9 * max(1.0, *map(abs, returns))


def check_fraction(name: str, *, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
