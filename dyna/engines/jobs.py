"""A request on its way through an engine: checked on entry, then filled token by token."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dyna.engines.choices import TrieNode, build_trie
from dyna.protocols import Completion, GenerationRequest


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """A request with what has been said so far."""

    request: GenerationRequest
    prompt: NDArray[np.int64]  # [P]
    future: asyncio.Future[Completion]
    limit: int
    """Most tokens that may be said."""
    stop_ids: frozenset[int]
    trie: TrieNode | None
    """What may be said; None when everything may."""
    node: TrieNode | None
    """Where in the trie the continuation stands."""
    token_ids: list[int] = field(default_factory=list[int])
    log_probs: list[float] = field(default_factory=list[float])

    def take(self, token: int, *, log_prob: float) -> bool:
        """Append one token; True if it ends the continuation by itself."""
        self.token_ids.append(token)
        self.log_probs.append(log_prob)
        if self.node is None:
            return token in self.stop_ids
        self.node = self.node[token]
        return not self.node

    @property
    def is_full(self) -> bool:
        return len(self.token_ids) >= self.limit

    def restart(self) -> None:
        self.node = self.trie
        self.token_ids.clear()
        self.log_probs.clear()

    def complete(self, *, finished: bool, weights_version: int) -> None:
        """Answer whoever still waits."""
        if not self.future.done():
            self.future.set_result(
                Completion(
                    token_ids=tuple(self.token_ids),
                    log_probs=tuple(self.log_probs),
                    finished=finished,
                    weights_version=weights_version,
                )
            )

    def fail(self, error: Exception | None) -> None:
        """Pass on what broke; without an error, cancel."""
        if self.future.done() or self.future.get_loop().is_closed():
            return
        if error is None:
            self.future.cancel()
        else:
            self.future.set_exception(error)


def make_job(request: GenerationRequest, *, vocab_size: int, max_context: int) -> Job:
    """A job for the running event loop.

    Raises:
        ValueError: for a prompt that is empty or leaves no room in `max_context`, and for any
            field of the request that makes no sense.
    """
    limit = check_request(request, vocab_size=vocab_size, max_context=max_context)
    trie = build_trie(request.choices) if request.choices else None
    return Job(
        request=request,
        prompt=np.array(request.prompt_ids, dtype=np.int64),
        future=asyncio.get_running_loop().create_future(),
        limit=limit,
        stop_ids=frozenset(request.stop_ids),
        trie=trie,
        node=trie,
    )


def check_request(request: GenerationRequest, *, vocab_size: int, max_context: int) -> int:
    """The most tokens that may be said; raises as `make_job` does."""
    _check_fields(request, vocab_size=vocab_size, max_context=max_context)
    limit = min(request.max_new_tokens, max_context - len(request.prompt_ids))
    longest = max(map(len, request.choices), default=0)
    if longest > limit:
        raise ValueError(
            f"the longest choice has {longest} tokens, but only {limit} may be generated; "
            "raise max_new_tokens or max_context, or shorten the prompt"
        )
    return limit


def _check_fields(request: GenerationRequest, *, vocab_size: int, max_context: int) -> None:
    prompt = request.prompt_ids
    if not prompt:
        raise ValueError("prompt_ids must not be empty")
    if len(prompt) >= max_context:
        raise ValueError(
            f"a prompt of {len(prompt)} tokens leaves no room in max_context={max_context}; "
            "shorten it or raise max_context"
        )
    if request.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be >= 1, got {request.max_new_tokens}")
    if not 0.0 <= request.temperature < float("inf"):
        raise ValueError(f"temperature must be >= 0 and finite, got {request.temperature}")
    for name, tokens in (("prompt_ids", prompt), *(("choices", c) for c in request.choices)):
        if tokens and not (min(tokens) >= 0 and max(tokens) < vocab_size):
            raise ValueError(
                f"{name} must lie in the vocabulary [0, {vocab_size}), "
                f"got {min(tokens)} to {max(tokens)}"
            )
