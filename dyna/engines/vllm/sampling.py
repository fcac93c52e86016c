"""A request in vLLM's words, and its answer in ours."""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from typing import Any

from dyna.engines.choices import TrieNode, build_trie
from dyna.protocols import Completion, GenerationRequest

# Keys of vLLM's `SamplingParams.extra_args`: what `TokenPicker` must know of a request.
TEMPERATURE = "dyna_temperature"
SEED = "dyna_seed"
CHOICES = "dyna_choices"
_SEED_MASK = (1 << 64) - 1
_ABORTED = "abort"
_STOPPED = "stop"


def to_sampling_params(request: GenerationRequest, *, limit: int) -> Any:
    """vLLM's parameters: the request's own and nothing from the model's folder.

    Raises `ValueError` for choices of which one is a prefix of another.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    stop_ids = list(request.stop_ids)
    if request.choices:
        build_trie(request.choices)
        stop_ids = _ends(request.choices)
        limit = max(map(len, request.choices))
    return SamplingParams(
        max_tokens=limit,
        # Greedy, for the picker leaves one token to choose.
        temperature=0.0,
        stop_token_ids=stop_ids,
        ignore_eos=True,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
        extra_args={
            TEMPERATURE: request.temperature,
            SEED: request.seed & _SEED_MASK,
            CHOICES: [list(choice) for choice in request.choices],
        },
        skip_clone=True,
    )


def _ends(choices: tuple[tuple[int, ...], ...]) -> list[int]:
    """Tokens that end a choice, if none of them also stands inside one; nothing otherwise.

    Without them vLLM repeats the last token up to the longest choice, and the rest is cut off.
    """
    inside = {token for choice in choices for token in choice[:-1]}
    ends = {choice[-1] for choice in choices}
    return [] if ends & inside else sorted(ends)


def was_aborted(output: Any) -> bool:
    """Whether vLLM gave the request up before it was done."""
    return output.outputs[0].finish_reason == _ABORTED


def to_completion(output: Any, *, request: GenerationRequest, weights_version: int) -> Completion:
    """Raises `FloatingPointError` when the model computed no numbers."""
    said = output.outputs[0]
    token_ids = tuple(said.token_ids)
    finished = said.finish_reason == _STOPPED
    if request.choices:
        token_ids = _first_choice(token_ids, trie=build_trie(request.choices))
        finished = True
    log_probs = tuple(said.logprobs.logprobs[: len(token_ids)])
    if not all(map(math.isfinite, log_probs)):
        raise FloatingPointError(
            f"the model's logits are not finite (weights version {weights_version})"
        )
    return Completion(
        token_ids=token_ids,
        log_probs=log_probs,
        finished=finished,
        weights_version=weights_version,
    )


def _first_choice(token_ids: tuple[int, ...], *, trie: TrieNode) -> tuple[int, ...]:
    """The choice that the tokens begin with."""
    node = trie
    for length, token in enumerate(token_ids, start=1):
        node = node[token]
        if not node:
            return token_ids[:length]
    raise RuntimeError(f"vLLM answered {token_ids}, which is none of the request's choices")
