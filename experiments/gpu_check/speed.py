"""How fast: decoding against memory bandwidth, training against the matrix rate, weight pushes.

Every bound is computed from the model's shape (`experiments.arithmetic`) and from rates measured on
the same device in the same process.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from typing import Any

import torch

from dyna.config import LoRAConfig, OptimizerConfig
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Engine, GenerationRequest
from dyna.training.lora import inject_lora
from dyna.training.trainer import TokenTrainer
from dyna.types import TrainingSample
from experiments.arithmetic import ModelShape, decode_step_s
from experiments.gpu_check.findings import CannotRunError, Finding
from experiments.gpu_check.subjects import (
    SEED,
    Bench,
    make_model,
    matrix_rate,
    memory_bandwidth,
    seconds,
    synchronize,
)
from experiments.gpu_check.vllm_engine import vllm_engine

_FIRST_TOKEN = 4
_TRAINING_BYTES = 18
"""Per trained parameter: bf16 weight; float32 master, gradient and two moments."""
_SPARE_BYTES = 8e9
"""For activations and logits."""


def check_device(bench: Bench) -> Finding:
    """The two rates that all others are held against."""
    bandwidth, flops = memory_bandwidth(bench), matrix_rate(bench)
    return Finding(
        measured=bandwidth / 1e9,
        unit="GB/s copied",
        details={"bandwidth_gb_per_s": bandwidth / 1e9, "bf16_tflops": flops / 1e12},
    )


def check_decoding(bench: Bench, *, model: str, engine: str) -> Finding:
    """Tokens per second of a full batch, beside what reading weights and cache takes."""
    shape = bench.shape(model)
    batch, prompt, said = (4, 24, 12) if bench.is_tiny else (64, 512, 129)
    bandwidth, flops = memory_bandwidth(bench), matrix_rate(bench)
    max_context = prompt + said + 1
    if engine == "vllm":
        with vllm_engine(shape, bench=bench, max_batch=batch, max_context=max_context) as (
            speaker,
            _,
        ):
            rate = _decoding_rate(speaker, vocab=shape.vocab, sizes=(batch, prompt, said))
    else:
        speaker = TransformersEngine(
            make_model(shape, device=bench.device), max_batch=batch, max_context=max_context
        )
        rate = _decoding_rate(speaker, vocab=shape.vocab, sizes=(batch, prompt, said))
    step_s = decode_step_s(
        shape, batch=batch, context=prompt + said / 2, bandwidth=bandwidth, flops=flops
    )
    return Finding(
        measured=rate,
        unit="tokens/s",
        bound=batch / step_s,
        goal=0.5 if engine == "vllm" and not bench.is_tiny else None,
        details={
            "batch": batch,
            "prompt_tokens": prompt,
            "bandwidth_gb_per_s": bandwidth / 1e9,
            "step_ms": 1e3 * batch / rate,
        },
    )


def _decoding_rate(engine: Engine, *, vocab: int, sizes: tuple[int, int, int]) -> float:
    """From the time of a long continuation, less that of one token, of the same prompts."""
    batch, prompt, said = sizes
    rng = random.Random(SEED)
    prompts = [
        tuple(rng.randrange(_FIRST_TOKEN, vocab) for _ in range(prompt)) for _ in range(batch)
    ]

    async def talk(num_tokens: int) -> int:
        requests = [
            GenerationRequest(
                conversation_id=str(row),
                prompt_ids=ids,
                max_new_tokens=num_tokens,
                stop_ids=(),
                temperature=0.0,
            )
            for row, ids in enumerate(prompts)
        ]
        answers = await asyncio.gather(*map(engine.generate, requests))
        return sum(len(answer.token_ids) for answer in answers)

    spent: dict[int, float] = {}
    for num_tokens in (said, 1, said):
        began = time.perf_counter()
        told = asyncio.run(talk(num_tokens))
        spent[num_tokens] = time.perf_counter() - began
        if told != batch * num_tokens:
            raise RuntimeError(f"{batch * num_tokens} tokens were asked for, {told} came back")
    return batch * (said - 1) / (spent[said] - spent[1])


def check_training(bench: Bench, *, model: str, lora_rank: int = 0) -> Finding:
    """Tokens per second of whole updates, beside what the matrix rate allows: the MFU."""
    shape = bench.shape(model)
    _check_memory(shape, bench=bench, lora_rank=lora_rank)
    length, num, per_step = (32, 8, 64) if bench.is_tiny else (2048, 16, 16_384)
    rng = random.Random(SEED)
    samples = [
        TrainingSample(
            token_ids=tuple(rng.randrange(_FIRST_TOKEN, shape.vocab) for _ in range(length)),
            ce=(0.0,) * (length // 2) + (1.0,) * (length - length // 2),
        )
        for _ in range(num)
    ]
    flops = matrix_rate(bench)
    subject = make_model(shape, device=bench.device)
    if lora_rank:
        inject_lora(subject, config=LoRAConfig(rank=lora_rank))
    optimizer = OptimizerConfig(
        learning_rate=1e-5,
        tokens_per_batch=per_step,
        tokens_per_pass=length,
        gradient_checkpointing=model == "7b",
    )
    trainer = TokenTrainer(subject, optimizer=optimizer)
    spent = seconds(
        lambda: trainer.train(samples, epochs=1, seed=SEED), device=bench.device, repeats=2
    )
    passes = 2 if lora_rank else 3
    # The last token of a sample is only predicted, never read.
    needed = shape.training_flops(length - 1, num_logits=length - length // 2, passes=passes)
    return Finding(
        measured=num * length / spent,
        unit="tokens/s",
        bound=length * flops / needed,
        goal=None if bench.is_tiny else 0.3,
        details={
            "matrix_tflops": flops / 1e12,
            "lora_rank": lora_rank,
            "tokens_per_step": per_step,
            "tokens_per_sample": length,
            "gradient_checkpointing": optimizer.gradient_checkpointing,
            "peak_memory_gb": _peak_memory(bench) / 1e9,
        },
    )


def _check_memory(shape: ModelShape, *, bench: Bench, lora_rank: int) -> None:
    if bench.device.type != "cuda":
        return
    state = shape.weight_bytes + _TRAINING_BYTES * shape.lora_parameters(lora_rank)
    needed = (state if lora_rank else _TRAINING_BYTES * shape.parameters) + _SPARE_BYTES
    free, _ = torch.cuda.mem_get_info(bench.device)
    if needed > free:
        raise CannotRunError(
            f"training needs {needed / 1e9:.0f} GB, and {free / 1e9:.0f} GB of the device are free"
        )


def _peak_memory(bench: Bench) -> int:
    is_gpu = bench.device.type == "cuda"
    return torch.cuda.max_memory_allocated(bench.device) if is_gpu else 0


def check_weight_push(bench: Bench, *, model: str, engine: str) -> Finding:
    """Bytes per second from a learner's weights to an engine's, beside one copy in memory."""
    shape = bench.shape(model)
    bandwidth = memory_bandwidth(bench)
    # No optimizer state is made before a gradient is: this holds weights alone.
    learner = TokenTrainer(make_model(shape, device=bench.device), optimizer=OptimizerConfig())
    if engine == "vllm":
        with vllm_engine(shape, bench=bench, max_batch=4, max_context=64, share=0.45) as (
            speaker,
            settings,
        ):
            spent = _push_seconds(learner, engine=speaker, device=bench.device)
            how = settings
    else:
        speaker = TransformersEngine(
            make_model(shape, device=bench.device), max_batch=4, max_context=64
        )
        spent = _push_seconds(learner, engine=speaker, device=bench.device)
        how = {"transfer": "copy"}
    num_bytes = shape.weight_bytes
    return Finding(
        measured=num_bytes / spent / 1e9,
        unit="GB/s",
        # A copy reads and writes each byte.
        bound=bandwidth / 2 / 1e9,
        details={"seconds": spent, "weight_gb": num_bytes / 1e9, **how},
    )


def _push_seconds(learner: TokenTrainer, *, engine: Engine, device: torch.device) -> float:
    """The shortest of three pushes after the first; each is stamped, and an answer asked for."""
    version = 0

    def push() -> None:
        nonlocal version
        version += 1
        engine.load_weights(learner.weights(), version=version)

    spent = seconds(push, device=device)
    request = GenerationRequest(
        conversation_id="pushed",
        prompt_ids=(5, 6, 7),
        max_new_tokens=1,
        stop_ids=(),
        temperature=0.0,
    )
    answer: Any = asyncio.run(_ask(engine, request=request))
    if answer.weights_version != version:
        raise RuntimeError(f"pushed version {version}, answered by {answer.weights_version}")
    gc.collect()
    synchronize(device)
    return spent


async def _ask(engine: Engine, *, request: GenerationRequest) -> Any:
    return await engine.generate(request)
