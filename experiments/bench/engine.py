"""How fast the transformers engine generates, beside transformers' own `generate`.

Both sides run in one process on the same model and the same prompts, by turns (A, B, A, B, ...),
so that whatever else the machine does falls on both. Figures are medians over the pairs; the ratio
of CPU seconds stands beside that of wall seconds, for on a shared machine it varies less.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from dyna.engines.transformers import TransformersEngine
from dyna.protocols import GenerationRequest
from dyna.seeding import generator

if TYPE_CHECKING:
    from collections.abc import Callable

SEED = 17
NUM_CONVERSATIONS = 64
_VOCAB_SIZE = 600
_FIRST_TOKEN = 4
"""Tokens below are special: `generate` would take its padding token for padding in a prompt."""


def bench_engine_vs_generate_turns(
    *, num_pairs: int = 5, num_turns: int = 10, start: int = 24, heard: int = 12, said: int = 10
) -> dict[str, Any]:
    """Conversations of many turns: the engine against `generate` on whole transcripts.

    At every turn each of 64 conversations hears `heard` tokens and says `said` tokens (give or
    take two, the same in every conversation of a turn, so that `generate` wastes nothing).
    """
    model = _model()
    rng = generator(SEED, "engine_vs_generate_turns")
    opening = rng.integers(_FIRST_TOKEN, _VOCAB_SIZE, size=(NUM_CONVERSATIONS, start))
    news = rng.integers(_FIRST_TOKEN, _VOCAB_SIZE, size=(num_turns, NUM_CONVERSATIONS, heard))
    lengths = [said + int(i) for i in rng.integers(-2, 3, size=num_turns)]
    max_context = start + num_turns * heard + sum(lengths)
    engine = TransformersEngine(model, max_batch=NUM_CONVERSATIONS, max_context=max_context)

    def by_engine() -> np.ndarray[Any, Any]:
        return asyncio.run(
            _talk(
                engine,
                weights=model.state_dict(),
                opening=opening,
                news=news,
                lengths=lengths,
            )
        )

    def by_generate() -> np.ndarray[Any, Any]:
        ids = opening
        for heard_now, length in zip(news, lengths, strict=True):
            ids = _generate(model, np.concatenate([ids, heard_now], axis=1), num_tokens=length)
        return ids

    return _compare(
        by_engine,
        by_generate,
        num_pairs=num_pairs,
        num_tokens=NUM_CONVERSATIONS * sum(lengths),
        setting={"turns": num_turns, "tokens_heard": heard, "tokens_said": lengths},
    )


def bench_engine_vs_generate_batch(
    *, num_pairs: int = 5, prompt: int = 32, said: int = 128
) -> dict[str, Any]:
    """One uniform batch of 64 long continuations: what `generate` is made for."""
    model = _model()
    rng = generator(SEED, "engine_vs_generate_batch")
    prompts = rng.integers(_FIRST_TOKEN, _VOCAB_SIZE, size=(NUM_CONVERSATIONS, prompt))
    engine = TransformersEngine(model, max_batch=NUM_CONVERSATIONS, max_context=prompt + said)
    nothing = np.zeros((1, NUM_CONVERSATIONS, 0), dtype=np.int64)

    def by_engine() -> np.ndarray[Any, Any]:
        return asyncio.run(
            _talk(
                engine,
                weights=model.state_dict(),
                opening=prompts,
                news=nothing,
                lengths=[said],
            )
        )

    def by_generate() -> np.ndarray[Any, Any]:
        return _generate(model, prompts, num_tokens=said)

    return _compare(
        by_engine,
        by_generate,
        num_pairs=num_pairs,
        num_tokens=NUM_CONVERSATIONS * said,
        setting={"tokens_prompt": prompt, "tokens_said": said},
    )


def _model() -> Qwen2ForCausalLM:
    """The shape of the tiny default model, with random weights."""
    torch.manual_seed(SEED)
    config = Qwen2Config(
        vocab_size=_VOCAB_SIZE,
        hidden_size=96,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    return Qwen2ForCausalLM(config).eval()


async def _talk(
    engine: TransformersEngine,
    *,
    weights: dict[str, Any],
    opening: np.ndarray[Any, Any],  # [B, P]
    news: np.ndarray[Any, Any],  # [N, B, H]
    lengths: list[int],  # [N]
) -> np.ndarray[Any, Any]:
    async def converse(row: int) -> list[int]:
        ids: list[int] = opening[row].tolist()
        for heard, length in zip(news[:, row].tolist(), lengths, strict=True):
            ids += heard
            request = GenerationRequest(
                conversation_id=f"{row}",
                prompt_ids=tuple(ids),
                max_new_tokens=length,
                stop_ids=(),
                temperature=0.0,
            )
            ids += (await engine.generate(request)).token_ids
        return ids

    # The same weights again: the engine forgets what it read in the pair before.
    engine.load_weights(weights, version=engine.weights_version)
    return np.array(await asyncio.gather(*map(converse, range(len(opening)))))


def _generate(
    model: Qwen2ForCausalLM, ids: np.ndarray[Any, Any], *, num_tokens: int
) -> np.ndarray[Any, Any]:
    tensor = torch.from_numpy(ids)
    generator_model: Any = model  # its type asks for more than `generate` needs
    out = generator_model.generate(
        tensor,
        attention_mask=torch.ones_like(tensor),
        max_new_tokens=num_tokens,
        do_sample=False,
    )
    return out.numpy()


def _compare(
    by_engine: Callable[[], np.ndarray[Any, Any]],
    by_generate: Callable[[], np.ndarray[Any, Any]],
    *,
    num_pairs: int,
    num_tokens: int,
    setting: dict[str, Any],
) -> dict[str, Any]:
    """Tokens per second of both sides, and the median of the paired ratios."""
    # The first run of each side is warm-up, and shows that both say the same.
    agreement = float((by_engine() == by_generate()).mean())
    seconds: dict[str, list[float]] = {"engine": [], "generate": []}
    cpu_seconds: dict[str, list[float]] = {"engine": [], "generate": []}
    for _ in range(num_pairs):
        for name, run in (("engine", by_engine), ("generate", by_generate)):
            began, cpu_began = time.perf_counter(), time.process_time()
            run()
            seconds[name].append(time.perf_counter() - began)
            cpu_seconds[name].append(time.process_time() - cpu_began)
    return {
        "ratio": _median_ratio(seconds),
        "ratios": [b / a for a, b in zip(seconds["engine"], seconds["generate"], strict=True)],
        "cpu_ratio": _median_ratio(cpu_seconds),
        "engine_tokens_per_s": num_tokens / statistics.median(seconds["engine"]),
        "generate_tokens_per_s": num_tokens / statistics.median(seconds["generate"]),
        "share_of_equal_tokens": agreement,
        "conversations": NUM_CONVERSATIONS,
        "pairs": num_pairs,
        "seed": SEED,
        **setting,
    }


def _median_ratio(seconds: dict[str, list[float]]) -> float:
    pairs = zip(seconds["engine"], seconds["generate"], strict=True)
    return statistics.median(b / a for a, b in pairs)
