"""The weights of the base model under another vocabulary.

All but the embeddings is kept. A new token that the base reads as pieces which it knows starts as
their mean (Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression"); one that it
would have to spell starts as a name that it never met, drawn like the names it knows (Hewitt 2021,
"Initializing New Word Embeddings for Pretrained Language Models"): all that the base does with a
name is to find it again, and for that it must only differ from others.
"""

# torch and transformers leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import copy
from enum import StrEnum
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2ForCausalLM


class Beginning(StrEnum):
    """What a tiny model starts from; all but `exercised` is there to be compared with it."""

    EXERCISED = "exercised"
    """As `transfer`, then exercises in the new tokens (`experiments.tiny.warm_up`)."""
    TRANSFER = "transfer"
    """The base's layers; new tokens as the mean of known pieces, or drawn like a name."""
    MEAN = "mean"
    """The base's layers; every new token as the mean of its pieces, spelled ones too."""
    DRAWN = "drawn"
    """The base's layers; every new token drawn like a name."""
    RANDOM = "random"
    """The base's shape with random weights throughout."""


def transfer_vocabulary(
    base: PreTrainedModel,
    *,
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
    max_context: int,
    beginning: Beginning = Beginning.TRANSFER,
    seed: int = 0,
) -> Qwen2ForCausalLM:
    """A model for the tokens of `new`, with room for `max_context` of them.

    `base` must have tied embeddings [V, D] and stays as it is. Positions are rotary, so a longer
    context needs no new weights. The same seed gives the same weights.
    """
    config = copy.deepcopy(base.config)
    config.vocab_size = len(new)
    config.max_position_embeddings = max(max_context, int(config.max_position_embeddings))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(cast(Any, config))
        if beginning is Beginning.RANDOM:
            return model.eval()
        known = _embeddings(base)
        rows = _new_rows(known, old=old, new=new, beginning=beginning)
    layers = {name: value for name, value in base.state_dict().items() if ".layers." in name}
    layers["model.norm.weight"] = base.state_dict()["model.norm.weight"]
    model.load_state_dict(layers, strict=False)
    with torch.no_grad():
        _embeddings(model).copy_(rows)
    return model.eval()


def _embeddings(model: PreTrainedModel) -> Tensor:
    return cast(Tensor, cast(Any, model.get_input_embeddings()).weight).detach()


def _new_rows(
    known: Tensor,  # [V, D]
    *,
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
    beginning: Beginning,
) -> Tensor:  # [V', D]
    letters = {index for token, index in old.get_vocab().items() if len(token) == 1}
    met = _met(known, old=old)
    names = known[[i for i in met if i not in letters]]
    drawn = _draw(len(new), names=names)
    shared = old.get_vocab()
    rows = drawn.clone()
    for token, index in new.get_vocab().items():
        if shared.get(token) in met:
            rows[index] = known[shared[token]]
            continue
        if beginning is Beginning.DRAWN:
            continue
        pieces = old.encode(str(new.decode([index])), add_special_tokens=False)
        is_known = all(piece in met and piece not in letters for piece in pieces)
        if pieces and (is_known or beginning is Beginning.MEAN):
            rows[index] = known[pieces].mean(dim=0)
    return rows


def _met(known: Tensor, *, old: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that the base met in training.

    All that it never met are pushed to one and the same place, away from every prediction. The
    byte 255 is in no text, so it marks the place.
    """
    nowhere = known[old.get_vocab()["\u00ff"]]
    likeness = torch.nn.functional.cosine_similarity(known, nowhere[None], dim=1)
    return set((likeness < 0.9).nonzero().flatten().tolist())


def _draw(num: int, *, names: Tensor) -> Tensor:  # [num, D]
    """Rows with the mean and the covariance of `names` [N, D]."""
    mean = names.mean(dim=0)
    # A sum of centered rows with normal weights has their covariance, whatever its rank.
    weights = torch.randn(num, len(names)) / len(names) ** 0.5
    return mean + weights @ (names - mean)


__all__ = ["Beginning", "transfer_vocabulary"]
