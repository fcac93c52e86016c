"""A language world model's surprise at real episodes: its mean loss on what the world said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from transformers import PreTrainedModel

from dyna.rendering import Renderer
from dyna.training.scoring import score_actions
from dyna.types import Trajectory

_MAX_ROW_TOKENS = 4096


def surprise(
    model: PreTrainedModel,
    renderer: Renderer,
    trajectories: Iterable[Trajectory],
    *,
    use_hidden_state: bool,
) -> dict[str, float]:
    """By trajectory id, nats per token of the world's answers; what does not fit is left out."""
    rendered = {
        t.id: renderer.model_sample(t, use_hidden_state=use_hidden_state) for t in trajectories
    }
    answers = {
        id: replace(
            sample,
            rl=(0.0,) * len(sample.token_ids),
            rl_mask=tuple(float(weight != 0) for weight in sample.ce),
            old_log_probs=(0.0,) * len(sample.token_ids),
        )
        for id, sample in rendered.items()
        if sample is not None
    }
    scores = score_actions(model, list(answers.values()), max_tokens=_MAX_ROW_TOKENS)
    return {
        # Rounding may leave a certain token a hair above probability 1.
        id: max(0.0, -sum(log_probs) / sum(sample.rl_mask))
        for (id, sample), log_probs in zip(answers.items(), scores, strict=True)
        if any(sample.rl_mask)
    }


__all__ = ["surprise"]
