"""The loss of a row: weighted per-token streams, summed, blind to the algorithm behind them.

- `rl`: PPO's clipped surrogate (Schulman et al., arXiv 1707.06347) per token, with the
  importance ratio to the sampling policy. All tokens of the step weigh the same.
- `ce`: weighted cross entropy.
- `ref_kl`: the exact KL(policy || reference) over the whole vocabulary at each position. It costs
  a forward pass of the reference but, unlike sampled estimators, is unbiased off policy too, never
  negative, and has the gradient one expects.
- `soft`: the KL from what an earlier model predicted and a buffer kept (`dyna.training.soft`).

Each is divided by its total over the whole optimizer step (`StreamTotals`).
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from dyna.training.packing import Row, StreamTotals, packed_attention
from dyna.training.soft import distance_to_stored
from dyna.types import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    clip_low: float = 0.2
    """The ratio is clipped below at 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio is clipped above at 1 + clip_high."""
    ce_scale: float = 1.0
    """Weight of the whole cross-entropy stream beside the others."""


METRICS = (
    "loss",
    "loss_rl",
    "loss_ce",
    "loss_ref_kl",
    "loss_soft",
    "ratio_mean",
    "clip_fraction",
    "approx_kl",
    "entropy",
)
"""What `row_loss` reports. Each is a share of the step's mean, so the rows' values add up.

`ratio_mean`, `clip_fraction`, `approx_kl` (the k3 estimate of KL(old || new)) and `entropy` (nats)
are means over the tokens the policy gradient speaks of.
"""


def row_loss(
    model: PreTrainedModel,
    *,
    row: Row,
    totals: StreamTotals,
    config: LossConfig,
    expected: Tensor | None = None,  # [S, V]
) -> tuple[Tensor, Tensor]:
    """The row's share of the step's loss, and its `METRICS` as a tensor without gradient.

    `expected` are the reference's log-probabilities, of a row that asks for a KL to them.
    """
    log_probs = target_distribution(model, row=row)  # [S, V]
    chosen = log_probs.gather(1, row.targets[:, None])[:, 0]  # [S]
    zero = chosen.new_zeros(())
    loss_rl, loss_ce, loss_kl, loss_soft = zero, zero, zero, zero
    policy_metrics = chosen.new_zeros(4)
    if totals.rl:
        loss_rl, policy_metrics = _policy_loss(
            chosen, row=row, log_probs=log_probs, total=totals.rl, config=config
        )
    if totals.ce:
        loss_ce = -(row.ce * chosen).sum() / totals.ce * config.ce_scale
    if totals.ref_kl and expected is not None:
        divergence = (log_probs.exp() * (log_probs - expected)).sum(dim=1)  # [S]
        loss_kl = (row.ref_kl * divergence).sum() / totals.ref_kl
    if totals.soft and row.soft_ids.numel():
        distance = distance_to_stored(log_probs, ids=row.soft_ids, stored=row.soft_log_probs)
        loss_soft = (row.soft * distance).sum() / totals.soft
    loss = loss_rl + loss_ce + loss_kl + loss_soft
    parts = torch.stack([loss, loss_rl, loss_ce, loss_kl, loss_soft]).detach()
    return loss, torch.cat([parts, policy_metrics])


def target_distribution(model: PreTrainedModel, *, row: Row) -> Tensor:
    """Log-probabilities over the vocabulary at the row's target positions, float32 `[S, V]`."""
    inputs: dict[str, Any] = {
        "input_ids": row.input_ids,
        "position_ids": row.position_ids,
        "use_cache": False,
        "logits_to_keep": row.positions,
    }
    if len(row.lengths) == 1:
        logits: Tensor = model(**inputs).logits[0]
    else:
        with packed_attention(model):
            logits = model(**inputs, segment_lengths=list(row.lengths)).logits[0]
    return torch.log_softmax(logits.float(), dim=-1)


def to_metrics(values: Tensor) -> Metrics:
    return dict(zip(METRICS, values.tolist(), strict=True))


def _policy_loss(
    chosen: Tensor,  # [S]
    *,
    row: Row,
    log_probs: Tensor,  # [S, V]
    total: float,
    config: LossConfig,
) -> tuple[Tensor, Tensor]:
    # Masked before exp: a token of another stream has no old log-prob to be compared with.
    log_ratio = (chosen - row.old_log_probs) * row.rl_mask
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high)
    surrogate = torch.minimum(ratio * row.rl, clipped * row.rl)
    loss = -(surrogate * row.rl_mask).sum() / total
    with torch.no_grad():
        entropy = -(log_probs.exp() * log_probs).sum(dim=1)
        # Clipped where the clip, not the ratio, decides: the token has no gradient there.
        cut = (clipped * row.rl < ratio * row.rl).float()
        per_token = torch.stack([ratio, cut, ratio - 1.0 - log_ratio, entropy])  # [4, S]
        return loss, (per_token * row.rl_mask).sum(dim=1) / total
