"""The `soft` stream: what an earlier model predicted, kept as its most likely tokens.

The distance is KL(stored || policy), the tokens that were not stored pooled into one. (Dark
experience replay, Buzzega et al., arXiv 2004.07211, takes the squared distance of the logits,
which would need all of them; the paper derives it from this KL.)
"""

# torch leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from dyna.types import TrainingSample

_LEAST = 1e-7
"""The least probability told apart from 0 where it is 1 less a sum in float32."""

Prediction: TypeAlias = tuple[tuple[int, ...], tuple[float, ...]]
"""Tokens and their log-probabilities, `[K]` each; empty where nothing is stored."""


def check_stored(sample: TrainingSample) -> None:
    """Raises `ValueError` unless there is one stored prediction for each `soft` weight."""
    num_places = sum(value != 0 for value in sample.soft)
    if not num_places:
        return
    targets = sample.soft_targets
    if targets is None:
        raise ValueError(f"a sample with {num_places} soft weights needs soft_targets")
    sizes = {len(targets.token_ids), len(targets.log_probs)}
    if targets.top_k < 1 or sizes != {targets.top_k * num_places}:
        raise ValueError(
            f"a sample with {num_places} soft weights needs soft_targets of as many places, got "
            f"{sorted(sizes)} numbers at top_k={targets.top_k}"
        )


def stored_at(positions: Sequence[int], *, sample: TrainingSample) -> list[Prediction]:
    """The stored prediction of each position."""
    if sample.soft_targets is None:
        return [((), ())] * len(positions)
    targets, k = sample.soft_targets, sample.soft_targets.top_k
    starts = iter(range(0, len(targets.token_ids), k))
    found: list[Prediction] = []
    for position in positions:
        start = next(starts) if sample.soft and sample.soft[position] else None
        span = slice(0) if start is None else slice(start, start + k)
        found.append((targets.token_ids[span], targets.log_probs[span]))
    return found


def stored_tensors(stored: Sequence[Prediction], *, device: torch.device) -> dict[str, Tensor]:
    """`soft_ids` and `soft_log_probs` of a row: `[S, K]`, filled up with log-probs of -inf."""
    width = max((len(ids) for ids, _ in stored), default=0)
    ids = [[*ids, *[0] * (width - len(ids))] for ids, _ in stored]
    log_probs = [[*values, *[-math.inf] * (width - len(values))] for _, values in stored]
    shape = (len(stored), width)
    return {
        "soft_ids": torch.tensor(ids, dtype=torch.long, device=device).view(shape),
        "soft_log_probs": torch.tensor(log_probs, dtype=torch.float32, device=device).view(shape),
    }


def distance_to_stored(
    log_probs: Tensor,  # [S, V]
    *,
    ids: Tensor,  # [S, K]
    stored: Tensor,  # [S, K]
) -> Tensor:  # [S]
    """KL(stored || policy) over the stored tokens and a remainder, 0 where nothing is stored."""
    given = stored.exp()  # [S, K]
    # Stored in 16 bits, they may sum to a little more than 1.
    given = given / given.sum(dim=1, keepdim=True).clamp(min=1.0)
    rest = (1.0 - given.sum(dim=1)).clamp(min=0.0)  # [S]
    own = log_probs.gather(1, ids)  # [S, K]
    own_rest = 1.0 - (own.exp() * stored.isfinite()).sum(dim=1)  # [S]
    of_stored = (torch.xlogy(given, given) - given * own).sum(dim=1)
    return of_stored + torch.xlogy(rest, rest) - rest * own_rest.clamp(min=_LEAST).log()


__all__ = ["Prediction", "check_stored", "distance_to_stored", "stored_at", "stored_tensors"]
