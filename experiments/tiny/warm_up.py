"""Exercises in looking things up, over the tokens of a new vocabulary.

The layers of the base find again what stood in the context, in the words that they know. A minute
of exercises over arbitrary tokens of another vocabulary teaches them to do so in its words, without
a single episode: nothing in an exercise says what a token means.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dyna.config import OptimizerConfig
from dyna.training.trainer import TokenTrainer
from dyna.types import TrainingSample

MAX_STEPS = 150
_TOKENS_PER_STEP = 2048
_LENGTH = 150
"""Tokens of an exercise, about."""
_OPTIMIZER = OptimizerConfig(
    learning_rate=2e-3, weight_decay=0.0, tokens_per_batch=_TOKENS_PER_STEP, warmup_steps=20
)


def warm_up(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, steps: int, seed: int
) -> None:
    """Take `steps` optimizer steps on exercises over all tokens but bytes; changes `model`."""
    if steps < 1:
        return
    special = set(tokenizer.all_special_ids)
    tokens = sorted(i for t, i in tokenizer.get_vocab().items() if len(t) > 1 and i not in special)
    rng = Random(seed)
    num = steps * _TOKENS_PER_STEP // _LENGTH + 1
    samples = [recall(tokens, rng) for _ in range(num)]
    TokenTrainer(model, optimizer=_OPTIMIZER).train(samples, epochs=1.0, seed=seed)


def recall(tokens: Sequence[int], rng: Random) -> TrainingSample:
    """Pieces of text, then some of them again in another order, or a part of one.

    The first token of each repeated piece is given; those after it are trained.
    """
    pieces = [rng.sample(tokens, rng.randint(2, 7)) for _ in range(rng.randint(6, 20))]
    ids = [token for piece in pieces for token in piece]
    weights = [0.0] * len(ids)
    while len(ids) < _LENGTH:
        piece = rng.choice(pieces)
        first = rng.randrange(len(piece) - 1)
        ids += piece[first:]
        weights += [0.0] + [1.0] * (len(piece) - first - 1)
    return TrainingSample(token_ids=tuple(ids), ce=tuple(weights))


__all__ = ["MAX_STEPS", "recall", "warm_up"]
