"""Checks any engine against its seam: what every caller of `generate` relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from dyna.protocols import Completion, Engine, GenerationRequest


def check_engine(
    engine: Engine, *, prompt: Sequence[int], stop_ids: Sequence[int] = (), max_new_tokens: int = 8
) -> None:
    """Raise `AssertionError` with what was seen if `engine` breaks the contract of `Engine`.

    Args:
        engine: Idle; it is used from two event loops, one after the other.
        prompt: Token ids it can continue.
        stop_ids: What may end a continuation.
        max_new_tokens: For the free continuations.
    """
    request = GenerationRequest(
        conversation_id="contract/0",
        prompt_ids=tuple(prompt),
        max_new_tokens=max_new_tokens,
        stop_ids=tuple(stop_ids),
        temperature=0.0,
    )
    first = asyncio.run(_generate(engine, [request]))[0]
    _check_completion(first, request=request, version=engine.weights_version)
    sampled = [
        replace(request, conversation_id=f"contract/{i}", temperature=1.0, seed=i) for i in range(5)
    ]
    together = asyncio.run(_generate(engine, sampled))
    for one, asked in zip(together, sampled, strict=True):
        _check_completion(one, request=asked, version=engine.weights_version)
    again = asyncio.run(_generate(engine, sampled[::-1]))[::-1]
    for one, other in zip(together, again, strict=True):
        _require(
            one.token_ids == other.token_ids,
            "the same request with the same seed must be answered alike in any company, got "
            f"{one.token_ids} and {other.token_ids}",
        )
    repeated = asyncio.run(_generate(engine, [request]))[0]
    _require(
        repeated.token_ids == first.token_ids,
        f"greedy answers must repeat, got {first.token_ids} and {repeated.token_ids}",
    )
    _check_refusals(engine, request=request)


async def _generate(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Completion]:
    return list(await asyncio.gather(*[engine.generate(request) for request in requests]))


def _check_completion(completion: Completion, *, request: GenerationRequest, version: int) -> None:
    tokens = completion.token_ids
    _require(
        0 < len(tokens) <= request.max_new_tokens,
        f"a continuation must have 1 to {request.max_new_tokens} tokens, got {len(tokens)}",
    )
    _require(
        len(completion.log_probs) == len(tokens),
        f"every token needs its log-prob, got {len(completion.log_probs)} for {len(tokens)} tokens",
    )
    _require(
        all(log_prob <= 1e-6 for log_prob in completion.log_probs),
        f"log-probs must be <= 0, got {max(completion.log_probs)}",
    )
    stops = [i for i, token in enumerate(tokens) if token in request.stop_ids]
    _require(
        stops in ([], [len(tokens) - 1]),
        f"a stop token must end the continuation {tokens}; stop tokens stand at {stops}",
    )
    _require(
        completion.finished == bool(stops),
        f"finished must say whether a stop token was reached, got {completion.finished} "
        f"for {tokens}",
    )
    _require(
        completion.weights_version == version,
        f"weights_version must be {version}, got {completion.weights_version}",
    )


def _check_refusals(engine: Engine, *, request: GenerationRequest) -> None:
    for bad in (replace(request, prompt_ids=()), replace(request, max_new_tokens=0)):
        try:
            asyncio.run(_generate(engine, [bad]))
        except ValueError:
            continue
        raise AssertionError(
            f"a request with {len(bad.prompt_ids)} prompt tokens and "
            f"max_new_tokens={bad.max_new_tokens} must be refused with a ValueError"
        )


def _require(condition: bool, message: str) -> None:
    # Not `assert`, which `python -O` removes.
    if not condition:
        raise AssertionError(message)
