"""What a language world model predicts for each token of an answer: soft targets to stay close to.

Stored while an episode is new, they are what dark experience replay trains toward when it is
drawn again (Buzzega et al. 2020, arXiv 2004.07211).
"""

# torch leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from transformers import PreTrainedModel

from dyna.protocols import HasTargets
from dyna.rendering import Renderer
from dyna.training.losses import target_distribution
from dyna.training.packing import pack
from dyna.types import SoftTargets, TrainingSample, Trajectory


@torch.no_grad()
def soft_targets(
    model: PreTrainedModel,
    renderer: Renderer,
    trajectories: Iterable[Trajectory],
    *,
    top_k: int,
    use_hidden_state: bool,
) -> dict[str, SoftTargets]:
    """By trajectory id, the `top_k` most likely tokens at each trained token; what does not fit
    the context is left out."""
    found: dict[str, SoftTargets] = {}
    for trajectory in trajectories:
        sample = renderer.model_sample(trajectory, use_hidden_state=use_hidden_state)
        if sample is None or not any(sample.ce):
            continue
        bound = len(sample.token_ids)
        (row,) = pack([sample], max_tokens=bound, max_targets=bound, device=model.device)
        log_probs = target_distribution(model, row=row)  # [S, V]
        best = log_probs.topk(min(top_k, log_probs.shape[1]), dim=1)
        found[trajectory.id] = SoftTargets(
            top_k=best.indices.shape[1],
            token_ids=tuple(best.indices.flatten().tolist()),
            log_probs=tuple(best.values.flatten().tolist()),
        )
    return found


def with_targets(sample: TrainingSample, *, id: str, replay: HasTargets) -> TrainingSample:
    """A replayed sample that is also drawn to what was predicted when it was new.

    One of which nothing is stored, or that is rendered otherwise by now, has its cross entropy
    alone.
    """
    targets = replay.targets(id)
    soft = tuple(replay.alpha * (weight != 0) for weight in sample.ce)
    sample = replace(sample, ce=tuple(replay.beta * weight for weight in sample.ce))
    if targets is None or len(targets.token_ids) != targets.top_k * sum(map(bool, soft)):
        return sample
    return replace(sample, soft=soft, soft_targets=targets)


__all__ = ["soft_targets", "with_targets"]
