"""Requests to engines, and what the model alone says to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Completion, Engine, GenerationRequest
from dyna.seeding import generator

STOP = 3
_VOCAB_SIZE = 260


def prompt(length: int, *, seed: int = 0) -> tuple[int, ...]:
    return tuple(generator(seed, "prompt", length).integers(8, _VOCAB_SIZE, size=length).tolist())


def request(prompt_ids: Sequence[int], **changes: Any) -> GenerationRequest:
    plain = GenerationRequest(
        conversation_id="c",
        prompt_ids=tuple(prompt_ids),
        max_new_tokens=12,
        stop_ids=(STOP,),
        temperature=0.0,
    )
    return replace(plain, **changes)


def requests(num: int, **changes: Any) -> list[GenerationRequest]:
    """Of different lengths, with different seeds."""
    return [request(prompt(5 + 7 * i, seed=i), seed=i, **changes) for i in range(num)]


def ask(engine: Engine, asked: Sequence[GenerationRequest]) -> list[Completion]:
    """All at once, on an event loop of their own."""
    return ask_each([(engine, one) for one in asked])


def ask_each(asked: Sequence[tuple[Engine, GenerationRequest]]) -> list[Completion]:
    async def gather() -> list[Completion]:
        return list(await asyncio.gather(*[engine.generate(one) for engine, one in asked]))

    return asyncio.run(gather())


def reference(model: PreTrainedModel) -> TransformersEngine:
    return TransformersEngine(model, max_context=512)


def log_probs(
    model: PreTrainedModel, asked: GenerationRequest, said: Sequence[int]
) -> torch.Tensor:
    """Of the tokens `said`, by one forward pass of the model, as a learner computes them."""
    with torch.no_grad():
        logits = model(torch.tensor([[*asked.prompt_ids, *said]])).logits[0]
    scores = logits[len(asked.prompt_ids) - 1 : -1].float().log_softmax(-1)
    return scores.gather(1, torch.tensor(said)[:, None])[:, 0]


def assert_says(
    completions: Sequence[Completion],
    model: PreTrainedModel,
    asked: Sequence[GenerationRequest],
    *,
    tolerance: float,
) -> None:
    """Each answer has the log-probs that the model alone gives it."""
    for completion, one in zip(completions, asked, strict=True):
        expected = log_probs(model, one, completion.token_ids)
        torch.testing.assert_close(
            torch.tensor(completion.log_probs), expected, atol=tolerance, rtol=0.0
        )


def assert_same(
    completions: Sequence[Completion], others: Sequence[Completion], *, tolerance: float
) -> None:
    """The same tokens, and log-probs within `tolerance`."""
    for one, other in zip(completions, others, strict=True):
        assert one.token_ids == other.token_ids
        assert one.finished == other.finished
        torch.testing.assert_close(
            torch.tensor(one.log_probs), torch.tensor(other.log_probs), atol=tolerance, rtol=0.0
        )
