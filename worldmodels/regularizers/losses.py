"""A model's mean loss on samples, without a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedModel

from dyna.training.scoring import score_actions
from dyna.types import TrainingSample

_MAX_ROW_TOKENS = 4096


def mean_loss(model: PreTrainedModel, samples: Sequence[TrainingSample]) -> float:
    """Nats per token that the samples train by cross entropy, or by a KL to a reference."""
    marked = [_marked(sample) for sample in samples]
    scores = score_actions(model, marked, max_tokens=_MAX_ROW_TOKENS)
    num_tokens = sum(sum(sample.rl_mask) for sample in marked)
    return -sum(map(sum, scores)) / max(num_tokens, 1.0)


def _marked(sample: TrainingSample) -> TrainingSample:
    zeros = (0.0,) * len(sample.token_ids)
    trained = sample.ce or sample.ref_kl or zeros
    return replace(
        sample,
        rl=zeros,
        rl_mask=tuple(float(weight != 0) for weight in trained),
        old_log_probs=zeros,
    )


__all__ = ["mean_loss"]
