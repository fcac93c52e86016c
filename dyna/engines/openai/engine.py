"""A served model as an engine of token ids: prompts go out as ids, ids and log-probs come back.

vLLM's `/v1/completions` can do this. What is served is fixed: a run whose engine this is plays and
measures, it does not learn. For servers that speak text only there are the policy and the world
model called `openai`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dyna.configuring import ConfigError
from dyna.engines.choices import build_trie
from dyna.engines.jobs import check_request
from dyna.engines.openai.answers import as_list, as_object
from dyna.engines.openai.client import ServerClient, ServerError
from dyna.engines.openai.settings import ServerSettings, read_settings
from dyna.protocols import Completion, GenerationRequest
from dyna.seeding import derive_seed
from dyna.spending import METER, Meter

_ANY_TOKEN = 2**31
_MAX_SEED = 2**63 - 1


class OpenAIEngine:
    """Generates with what a server serves.

    Example: `OpenAIEngine({"model_name": "Qwen/Qwen2.5-7B-Instruct", "api_key_env": "",
    "base_url": "http://127.0.0.1:8000/v1"}, max_context=4096)`

    A request with choices takes one call for each place where the choices part, and one more that
    scores the tokens between them.
    """

    def __init__(
        self,
        server: Mapping[str, Any] | ServerSettings,
        *,
        max_context: int,
        check: bool = True,
        meter: Meter = METER,
    ) -> None:
        """`check` asks the server at once whether it is there, serves the model, and tells token
        ids and log-probs.

        Raises `ConfigError` for settings that cannot be used.
        """
        self._settings = read_settings(server)
        self._max_context = max_context
        self._client = ServerClient(self._settings, meter=meter)
        self.weights_version = 0
        if check:
            self._client.check()
            self._probe()

    async def generate(self, request: GenerationRequest) -> Completion:
        """Sample one continuation of the prompt.

        Raises:
            ValueError: for a request that makes no sense or does not fit `max_context`.
            ServerError: when the server gives no answer that can be used.
            SpendLimitError: when the call may cost more than is left.
        """
        limit = check_request(request, vocab_size=_ANY_TOKEN, max_context=self._max_context)
        if request.choices:
            return await self._choose(request)
        tokens, log_probs = await self._complete(
            request.prompt_ids,
            max_tokens=limit,
            temperature=request.temperature,
            seed=request.seed,
            stop_token_ids=list(request.stop_ids),
        )
        return Completion(
            token_ids=tokens,
            log_probs=log_probs,
            finished=bool(tokens) and tokens[-1] in request.stop_ids,
            weights_version=self.weights_version,
        )

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """Raises `ConfigError` always: nobody can change what the server serves."""
        raise ConfigError(
            f"engine `openai`: {self._settings.model_name} at {self._settings.base_url} is served "
            "as it is and takes no weights; train with `transformers` or `vllm`"
        )

    def close(self) -> None:
        self._client.close()

    async def _choose(self, request: GenerationRequest) -> Completion:
        """Walk the trie of choices: the model decides where it branches, and only there."""
        node, said = build_trie(request.choices), list[int]()
        while node:
            token = next(iter(node))
            if len(node) > 1:
                (token,), _ = await self._complete(
                    (*request.prompt_ids, *said),
                    max_tokens=1,
                    temperature=request.temperature,
                    seed=derive_seed(request.seed, len(said)),
                    allowed_token_ids=sorted(node),
                )
                if token not in node:
                    raise self._unfit("it does not heed `allowed_token_ids`")
            said.append(token)
            node = node[token]
        return Completion(
            token_ids=tuple(said),
            log_probs=await self._score(request.prompt_ids, said=said),
            finished=True,
            weights_version=self.weights_version,
        )

    async def _complete(
        self,
        prompt: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        **more: Any,
    ) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Tokens with their log-probs at temperature 1, before any constraint."""
        choice = await self._ask(
            prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed & _MAX_SEED,
            logprobs=1,
            # The stop tokens of the request are all there are.
            ignore_eos=True,
            **more,
        )
        tokens: list[int] = as_list(choice.get("token_ids"))
        told: list[float] = as_list(as_object(choice.get("logprobs")).get("token_logprobs"))
        if not tokens:
            raise self._unfit("it returns no `token_ids`")
        if len(told) != len(tokens):
            raise self._unfit("it returns no log-probs of its tokens")
        return tuple(tokens), tuple(_certain(value) for value in told)

    async def _score(self, prompt: Sequence[int], *, said: Sequence[int]) -> tuple[float, ...]:
        choice = await self._ask((*prompt, *said), max_tokens=1, temperature=0.0, prompt_logprobs=0)
        told: list[Mapping[str, Any]] = as_list(choice.get("prompt_logprobs"))
        if len(told) != len(prompt) + len(said):
            raise self._unfit("it returns no `prompt_logprobs`")
        found = zip(said, told[len(prompt) :], strict=True)
        return tuple(_certain(entry[str(token)]["logprob"]) for token, entry in found)

    async def _ask(
        self, prompt: Sequence[int], *, max_tokens: int, **fields: Any
    ) -> Mapping[str, Any]:
        body = {
            "model": self._settings.model_name,
            "prompt": list(prompt),
            "max_tokens": max_tokens,
            "return_token_ids": True,
            **fields,
            **self._settings.extra_body,
        }
        answer = await self._client.send(
            "completion",
            {key: value for key, value in body.items() if key not in self._settings.omit},
            num_prompt_tokens=len(prompt),
            max_tokens=max_tokens,
        )
        return answer["choices"][0]

    def _unfit(self, why: str) -> ServerError:
        return ServerError(
            f"{self._settings.model_name} at {self._settings.base_url} cannot be an engine: {why}; "
            "use a server of vLLM, or the policy and world model `openai`, which need text only",
            is_passing=False,
        )

    def _probe(self) -> None:
        """One token, to learn before anything starts whether the server tells what we need."""
        call = self._complete((0,), max_tokens=1, temperature=0.0, seed=0)
        try:
            self._client.wait(call)
        except ServerError as error:
            raise ConfigError(str(error)) from error


def _certain(log_prob: float) -> float:
    """Rounding can push a certain token's log-prob a hair above 0."""
    if not math.isfinite(log_prob):
        raise ServerError(f"the server returned the log-prob {log_prob}", is_passing=False)
    return min(0.0, float(log_prob))


__all__ = ["OpenAIEngine"]
