"""Picks tokens: one uniform number per (seed, position), turned into a token by the inverse CDF.

A row's randomness is a pure function of its own request, so what it says does not depend on who
else is in the batch, on the order of arrival, or on how often the engine was used before.
"""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of SplitMix64 (Steele, Lea and Flood, 2014), wrapping at 64 bits."""
    mixed = state + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
    return mixed ^ (mixed >> np.uint64(31))


def uniforms(seeds: NDArray[np.uint64], *, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Numbers in [0, 1), one per row, from the row's seed and its position.

    Args:
        seeds: [B]
        positions: [B] index of the token within its continuation.
    """
    counters = _splitmix64(seeds) ^ positions.astype(np.uint64)
    return (_splitmix64(counters) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def sample(
    logits: torch.Tensor,
    *,
    temperatures: NDArray[np.float32],
    draws: NDArray[np.float64],
    allowed: Sequence[tuple[int, list[int]]] = (),
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """One token per row and its log-prob at temperature 1 before any constraint.

    Args:
        logits: [B, V] of any floating dtype; computed with in float32.
        temperatures: [B] 0 is greedy.
        draws: [B] uniform numbers in [0, 1).
        allowed: (row, token ids) for the rows that may only say one of these tokens.

    Returns:
        token ids [B] and log-probs [B].
    """
    log_probs = torch.log_softmax(logits.float(), dim=-1)  # [B, V]
    tokens = pick(log_probs, temperatures=temperatures, draws=draws, allowed=allowed)
    chosen = log_probs.gather(1, tokens[:, None])[:, 0]
    return tokens.cpu().numpy(), chosen.cpu().numpy()


def pick(
    scores: torch.Tensor,
    *,
    temperatures: NDArray[np.float32],
    draws: NDArray[np.float64],
    allowed: Sequence[tuple[int, list[int]]] = (),
) -> torch.Tensor:
    """One token per row [B], on the device of `scores`: float32 logits or log-probs [B, V].

    The other arguments are those of `sample`.
    """
    if allowed:
        scores = _constrain(scores, allowed=allowed)
    is_sampled = temperatures > 0
    if not is_sampled.any():
        return scores.argmax(dim=-1)
    tokens = _inverse_cdf(scores, temperatures=temperatures, draws=draws)
    if is_sampled.all():
        return tokens
    sampled = torch.from_numpy(is_sampled).to(scores.device)
    return torch.where(sampled, tokens, scores.argmax(dim=-1))


def _constrain(
    log_probs: torch.Tensor, *, allowed: Sequence[tuple[int, list[int]]]
) -> torch.Tensor:
    """A copy with minus infinity at whatever a constrained row may not say."""
    rows = [row for row, tokens in allowed for _ in tokens]
    columns = [token for _, tokens in allowed for token in tokens]
    device = log_probs.device
    row_index, column_index = (
        torch.tensor(rows, device=device),
        torch.tensor(columns, device=device),
    )
    scores = log_probs.clone()
    scores[torch.tensor([row for row, _ in allowed], device=device)] = -torch.inf
    scores[row_index, column_index] = log_probs[row_index, column_index]
    return scores


def _inverse_cdf(
    scores: torch.Tensor, *, temperatures: NDArray[np.float32], draws: NDArray[np.float64]
) -> torch.Tensor:
    """Greedy rows get a token too; the caller replaces it."""
    safe = np.where(temperatures > 0, temperatures, np.float32(1.0))
    divisors = torch.from_numpy(safe).to(scores.device)[:, None]
    # The highest score is moved to 0 first, so that a tiny temperature cannot overflow it.
    scaled = (scores - scores.amax(dim=-1, keepdim=True)) / divisors
    cdf = scaled.exp_().cumsum(dim=-1, dtype=torch.float64)  # [B, V]
    targets = torch.from_numpy(draws).to(scores.device)[:, None] * cdf[:, -1:]
    # The first entry above the target: never one of probability 0, for it adds nothing to the CDF.
    tokens = torch.searchsorted(cdf, targets, right=True)[:, 0]
    return tokens.clamp_(max=scores.shape[-1] - 1)
