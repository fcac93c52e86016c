"""An engine with no model: a function of the request says the answer, after a fixed latency.

For tests, and for measuring the loop around an engine apart from the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dyna.protocols import Completion, GenerationRequest


class ScriptedEngine:
    """Answers with `reply(request)`, cut at `max_new_tokens` and after the first stop token.

    Example: `ScriptedEngine(lambda request: (5, 9, 2), latency_s=0.01)`

    Every token has log-prob 0, as its only possible one.
    """

    def __init__(
        self, reply: Callable[[GenerationRequest], Sequence[int]], *, latency_s: float = 0.0
    ) -> None:
        if latency_s < 0:
            raise ValueError(f"latency_s must be >= 0, got {latency_s}")
        self._reply = reply
        self._latency_s = latency_s
        self.weights_version = 0

    async def generate(self, request: GenerationRequest) -> Completion:
        """Sleep `latency_s`, then answer.

        Raises:
            ValueError: for an empty prompt, `max_new_tokens` < 1, or a reply that is none of the
                request's choices.
        """
        if not request.prompt_ids:
            raise ValueError("prompt_ids must not be empty")
        if request.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be >= 1, got {request.max_new_tokens}")
        await asyncio.sleep(self._latency_s)
        tokens = tuple(self._reply(request))
        if request.choices:
            if tokens not in {tuple(choice) for choice in request.choices}:
                raise ValueError(f"reply {tokens} is none of the {len(request.choices)} choices")
            return self._complete(tokens, finished=True)
        for end, token in enumerate(tokens[: request.max_new_tokens], start=1):
            if token in request.stop_ids:
                return self._complete(tokens[:end], finished=True)
        return self._complete(tokens[: request.max_new_tokens], finished=False)

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """There is nothing to load; the version is taken over."""
        self.weights_version = version

    def _complete(self, tokens: tuple[int, ...], *, finished: bool) -> Completion:
        return Completion(
            token_ids=tokens,
            log_probs=(0.0,) * len(tokens),
            finished=finished,
            weights_version=self.weights_version,
        )
