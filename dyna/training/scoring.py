"""What a model itself thinks of tokens that somebody else sampled: their log-probabilities.

An engine computes with other kernels, in another precision, and at times with older weights than
the learner. Scoring its tokens with the learner's weights says how far apart the two are.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedModel

from dyna.training.losses import target_distribution
from dyna.training.packing import can_pack, num_trained_tokens, pack
from dyna.types import TrainingSample

_MAX_LOGITS = 2**26
"""Numbers in the largest logit matrix of a row of several samples: 256 MiB of float32."""


@torch.no_grad()
def score_actions(
    model: PreTrainedModel,
    samples: Sequence[TrainingSample],
    *,
    max_tokens: int,
) -> list[tuple[float, ...]]:
    """The log-probability of every token that `rl_mask` marks, 0 elsewhere; as long as the sample.

    One forward pass per row of at most `max_tokens` inputs; a longer sample gets a row of its own,
    and so does every sample of a model that cannot keep several apart.
    """
    if not can_pack(model):
        max_tokens = 1
    max_targets = max(1, _MAX_LOGITS // model.config.get_text_config().vocab_size)
    marked = [_only_policy_stream(sample) for sample in samples]
    scores = [[0.0] * len(sample.token_ids) for sample in samples]
    # Longest first, the order in which a row holds its samples: so the answers find their places.
    order = sorted(
        (index for index, sample in enumerate(marked) if num_trained_tokens(sample)),
        key=lambda index: num_trained_tokens(marked[index]),
        reverse=True,
    )
    for members in _rows(order, marked=marked, max_tokens=max_tokens, max_targets=max_targets):
        (row,) = pack(
            [marked[index] for index in members],
            max_tokens=sum(num_trained_tokens(marked[index]) for index in members),
            max_targets=sum(len(_places(marked[index])) for index in members),
            device=model.device,
        )
        chosen = target_distribution(model, row=row).gather(1, row.targets[:, None])[:, 0]
        values = iter(chosen.tolist())
        for index in members:
            for place in _places(marked[index]):
                scores[index][place] = next(values)
    return [tuple(values) for values in scores]


def _only_policy_stream(sample: TrainingSample) -> TrainingSample:
    return TrainingSample(
        token_ids=sample.token_ids,
        rl=sample.rl,
        rl_mask=sample.rl_mask,
        old_log_probs=sample.old_log_probs,
    )


def _places(sample: TrainingSample) -> list[int]:
    return [place for place, value in enumerate(sample.rl_mask) if value]


def _rows(
    order: Sequence[int],
    *,
    marked: Sequence[TrainingSample],
    max_tokens: int,
    max_targets: int,
) -> list[list[int]]:
    rows: list[list[int]] = []
    tokens = targets = 0
    for index in order:
        tokens += num_trained_tokens(marked[index])
        targets += len(_places(marked[index]))
        if not rows or tokens > max_tokens or targets > max_targets:
            rows.append([])
            tokens, targets = num_trained_tokens(marked[index]), len(_places(marked[index]))
        rows[-1].append(index)
    return rows
