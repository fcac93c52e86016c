"""What a dream costs beyond the model's own work: environment objects, rendering, bookkeeping."""

from __future__ import annotations

import asyncio
import statistics
import time

from agents.llm import LLMPolicy
from dyna.config import ModelConfig
from dyna.engines.transformers import TransformersEngine
from dyna.envs.household import HouseholdWorld
from dyna.imagination import Dream, dream_envs
from dyna.rendering import Renderer
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.training.models import load_model, load_tokenizer
from dyna.types import Source, Task
from worldmodels.llm import LLMWorldModel

_NUM_DREAMS = 64
_HORIZON = 12


class _TimedEngine(TransformersEngine):
    """Adds up the seconds of its steps."""

    seconds = 0.0

    def _step(self) -> None:
        began = time.perf_counter()
        super()._step()
        self.seconds += time.perf_counter() - began


def bench_imagination_overhead(*, num_batches: int = 5, seed: int = 0) -> dict[str, float]:
    """The share of a dream batch's wall time that is not spent in either engine's steps.

    64 dreams of the package's base model as policy and as world model, on the embedded world.
    """
    config = ModelConfig()
    renderer = Renderer(load_tokenizer(config), max_context=config.max_context)
    engines = [
        _TimedEngine(load_model(config), max_batch=_NUM_DREAMS, max_context=config.max_context)
        for _ in range(2)
    ]
    policy = LLMPolicy(engines[0], renderer, max_new_tokens=8)
    model = LLMWorldModel(engines[1], renderer, max_new_tokens=32)
    world = HouseholdWorld(rooms=["kitchen"])
    tasks = world.tasks(split="train", num=_NUM_DREAMS)
    shares: list[float] = []
    rates: list[float] = []
    for batch in range(num_batches + 1):
        dreams = asyncio.run(_dreams(world, tasks=list(tasks), batch=batch, seed=seed))
        for engine in engines:
            engine.seconds = 0.0
        began = time.perf_counter()
        dreamt = asyncio.run(
            rollout(
                [dream.spec for dream in dreams],
                policy=policy,
                make_env=dream_envs(dreams, model=model),
                limits=Limits(max_turns=_HORIZON),
                source=Source.IMAGINED,
                max_concurrent=_NUM_DREAMS,
            )
        )
        wall = time.perf_counter() - began
        if batch:  # the first one warms up
            shares.append(1.0 - sum(engine.seconds for engine in engines) / wall)
            rates.append(sum(len(t.turns) for t in dreamt) / wall)
    return {
        "imagination_overhead": statistics.median(shares),
        "imagined_steps_per_s": statistics.median(rates),
        "seed": seed,
    }


async def _dreams(
    world: HouseholdWorld, *, tasks: list[Task], batch: int, seed: int
) -> list[Dream]:
    env = world.make()
    return [
        Dream(
            spec=EpisodeSpec(task=task, episode_id=f"{batch}/{index}", seed=seed + index),
            start=await env.reset(task),
        )
        for index, task in enumerate(tasks)
    ]
