"""How much of vLLM's speed is left when our rollout drives it, conversation by conversation.

The loop plays conversations in the embedded world through `VLLMEngine`: each turn waits for the
world's answer to the last one. Then vLLM is fed, at once and bare, the very prompts that the loop
had made, with the same sampling parameters. Both sides use one running vLLM, by turns and with
an empty prefix cache, so that whatever else the machine does falls on both. The model is random:
what it says does not matter, how long it takes does.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.console import Console
from transformers import Qwen2ForCausalLM

from agents.llm import LLMPolicy
from dyna.config import ModelConfig
from dyna.engines.vllm.engine import VLLMEngine
from dyna.engines.vllm.sampling import to_sampling_params
from dyna.envs.household import HouseholdWorld
from dyna.protocols import Completion, GenerationRequest
from dyna.rendering import Renderer
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.training.models import load_tokenizer, tiny_config
from dyna.types import Source

SEED = 17
GOAL = 0.9
_MAX_CONTEXT = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rate:
    """Tokens per second."""

    wall: float
    cpu: float


class _Clock:
    """Seconds since it was made: of the wall, and of CPUs in this process and vLLM's."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._cpu_began = _cpu_seconds()

    def rate(self, num_tokens: int) -> _Rate:
        return _Rate(
            wall=num_tokens / (time.perf_counter() - self._began),
            cpu=num_tokens / (_cpu_seconds() - self._cpu_began),
        )


def _cpu_seconds() -> float:
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(each.user + each.system for each in times)


class _Recording:
    """An engine that keeps what was asked of it."""

    def __init__(self, engine: VLLMEngine) -> None:
        self._engine = engine
        self.weights_version = 0
        self.asked: list[GenerationRequest] = []
        self.num_tokens = 0

    async def generate(self, request: GenerationRequest) -> Completion:
        completion = await self._engine.generate(request)
        self.asked.append(request)
        self.num_tokens += len(completion.token_ids)
        return completion

    def load_weights(self, weights: Any, *, version: int) -> None:
        self._engine.load_weights(weights, version=version)
        self.weights_version = version


def bench_vllm_loop(
    *,
    num_pairs: int = 5,
    num_conversations: int = 128,
    num_turns: int = 4,
    max_new_tokens: int = 24,
    hidden_size: int = 512,
    num_layers: int = 8,
) -> dict[str, Any]:
    """Tokens per second of the loop over those of bare vLLM: the median of the paired ratios.

    `cpu_ratio` is the same in CPU seconds of this process and vLLM's, for on a machine that does
    other work it varies less.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = _random_model(Path(folder), hidden_size=hidden_size, num_layers=num_layers)
        renderer = Renderer(load_tokenizer(ModelConfig()), max_context=_MAX_CONTEXT)
        engine = VLLMEngine(model_config=config, max_context=_MAX_CONTEXT, max_batch=64)
        try:
            pairs = [
                _measure_pair(
                    engine,
                    renderer,
                    num_conversations=num_conversations,
                    num_turns=num_turns if number else 1,
                    max_new_tokens=max_new_tokens,
                    number=number,
                )
                for number in range(num_pairs + 1)
            ][1:]  # the first one warms up
        finally:
            engine.close()
    return {
        "vllm_loop_vs_bare": statistics.median(loop.wall / bare.wall for loop, bare in pairs),
        "cpu_ratio": statistics.median(loop.cpu / bare.cpu for loop, bare in pairs),
        "loop_tokens_per_s": statistics.median(loop.wall for loop, _ in pairs),
        "bare_tokens_per_s": statistics.median(bare.wall for _, bare in pairs),
        "ratios": [loop.wall / bare.wall for loop, bare in pairs],
        "conversations": num_conversations,
        "turns": num_turns,
        "max_new_tokens": max_new_tokens,
        "hidden_size": hidden_size,
        "layers": num_layers,
        "seed": SEED,
    }


def _measure_pair(
    engine: VLLMEngine,
    renderer: Renderer,
    *,
    num_conversations: int,
    num_turns: int,
    max_new_tokens: int,
    number: int,
) -> tuple[_Rate, _Rate]:
    """Of the loop, and of vLLM fed with the same prompts at once."""
    recording = _Recording(engine)
    policy = LLMPolicy(recording, renderer, max_new_tokens=max_new_tokens)
    world = HouseholdWorld(rooms=["kitchen"])
    specs = [
        EpisodeSpec(task=task, episode_id=f"{number}/{index}", seed=SEED + index)
        for index, task in enumerate(world.tasks(split="train", num=num_conversations))
    ]
    engine.run(_forget)
    clock = _Clock()
    asyncio.run(
        rollout(
            specs,
            policy=policy,
            make_env=lambda _: world.make(),
            limits=Limits(max_turns=num_turns),
            source=Source.REAL,
            max_concurrent=num_conversations,
        )
    )
    loop_rate = clock.rate(recording.num_tokens)
    engine.run(_forget)
    clock = _Clock()
    num_tokens = engine.run(lambda llm: _feed(llm, recording.asked))
    return loop_rate, clock.rate(num_tokens)


async def _forget(llm: Any) -> None:
    await llm.reset_prefix_cache()


async def _feed(llm: Any, asked: Sequence[GenerationRequest]) -> int:
    """Tokens that vLLM says to all of `asked`, submitted at once."""

    async def say(number: int, request: GenerationRequest) -> int:
        from vllm.inputs.engine import tokens_input

        params = to_sampling_params(request, limit=request.max_new_tokens)
        prompt = tokens_input(list(request.prompt_ids))
        said = 0
        async for output in llm.generate(prompt, params, request_id=f"bare/{number}"):
            said = len(output.outputs[0].token_ids)
        return said

    return sum(await asyncio.gather(*[say(i, request) for i, request in enumerate(asked)]))


def _random_model(folder: Path, *, hidden_size: int, num_layers: int) -> ModelConfig:
    tokenizer = load_tokenizer(ModelConfig())
    torch.manual_seed(SEED)
    config = tiny_config(
        len(tokenizer),
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=hidden_size // 32,
        intermediate_size=4 * hidden_size,
        max_context=_MAX_CONTEXT,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelConfig(path=str(folder), max_context=_MAX_CONTEXT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--conversations", type=int, default=128)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--layers", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = bench_vllm_loop(
        num_pairs=arguments.pairs,
        num_conversations=arguments.conversations,
        hidden_size=arguments.hidden_size,
        num_layers=arguments.layers,
    )
    Console().print_json(json.dumps(result))


if __name__ == "__main__":
    main()
