"""Does the engine say what the learner would, with the probabilities that the learner gives it?

The learner reads what the engine said and gives its own log-probability to every token. In float32
the two agree but for the order of sums; in bfloat16 they differ by its rounding, and the most
likely token of the one may be the second of the other by a hair.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Completion, Engine, GenerationRequest
from dyna.training.losses import target_distribution
from dyna.training.packing import pack
from dyna.types import TrainingSample
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.subjects import DTYPES, SEED, Bench, make_model
from experiments.gpu_check.vllm_engine import vllm_engine

_MODEL = "0.5b"
_FIRST_TOKEN = 4
_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    mean_gap: float
    """Nats, over all sampled tokens."""
    behind: float
    """Nats by which a greedy token may be less likely to the learner than its own best."""


_BOUNDS = {
    "float32": _Bound(mean_gap=1e-4, behind=1e-3),
    "bfloat16": _Bound(mean_gap=2e-2, behind=2e-1),
}


def check_parity(bench: Bench, *, engine: str, dtype: str) -> Finding:
    """The mean gap in nats; it passes when that and the greedy tokens are within their bounds."""
    shape = bench.shape(_MODEL)
    longest, said = (40, 8) if bench.is_tiny else (300, 32)
    requests = _requests(shape.vocab, longest=longest, said=said)
    max_context = longest + said + 1
    learner = make_model(shape, device=bench.device, dtype=DTYPES[dtype])
    if engine == "vllm":
        with vllm_engine(
            shape, bench=bench, max_batch=_BATCH, max_context=max_context, dtype=dtype
        ) as (speaker, _):
            answers = asyncio.run(_ask(speaker, requests=requests))
    else:
        speaker = TransformersEngine(
            make_model(shape, device=bench.device, dtype=DTYPES[dtype]),
            max_batch=_BATCH,
            max_context=max_context,
        )
        answers = asyncio.run(_ask(speaker, requests=requests))
    return _compare(learner, requests=requests, answers=answers, bound=_BOUNDS[dtype])


def _requests(vocab: int, *, longest: int, said: int) -> list[GenerationRequest]:
    """Prompts of many lengths, every other one greedy."""
    rng = random.Random(SEED)
    return [
        GenerationRequest(
            conversation_id=str(row),
            prompt_ids=tuple(
                rng.randrange(_FIRST_TOKEN, vocab) for _ in range(rng.randint(4, longest))
            ),
            max_new_tokens=said,
            stop_ids=(),
            temperature=float(row % 2),
            seed=row,
        )
        for row in range(_BATCH)
    ]


async def _ask(engine: Engine, *, requests: Sequence[GenerationRequest]) -> list[Completion]:
    return list(await asyncio.gather(*map(engine.generate, requests)))


@torch.inference_mode()
def _compare(
    learner: PreTrainedModel,
    *,
    requests: Sequence[GenerationRequest],
    answers: Sequence[Completion],
    bound: _Bound,
) -> Finding:
    gaps: list[float] = []
    behind: list[float] = []
    for request, answer in zip(requests, answers, strict=True):
        token_ids = (*request.prompt_ids, *answer.token_ids)
        ce = (0.0,) * len(request.prompt_ids) + (1.0,) * len(answer.token_ids)
        row = pack(
            [TrainingSample(token_ids=token_ids, ce=ce)],
            max_tokens=len(token_ids),
            max_targets=len(token_ids),
            device=learner.device,
        )[0]
        everything = target_distribution(learner, row=row)  # [A, V]
        own = everything.gather(1, row.targets[:, None])[:, 0]
        theirs = torch.tensor(answer.log_probs, device=own.device)
        gaps += (own - theirs).abs().tolist()
        if not request.temperature:
            behind += (everything.max(dim=1).values - own).tolist()
    mean = sum(gaps) / len(gaps)
    return Finding(
        measured=mean,
        unit="nats, mean gap",
        passed=mean <= bound.mean_gap and max(behind) <= bound.behind,
        details={
            "tokens": len(gaps),
            "largest_gap_nats": max(gaps),
            "greedy_tokens_that_are_the_learners_best": sum(gap == 0.0 for gap in behind)
            / len(behind),
            "greedy_furthest_behind_nats": max(behind),
            "allowed_mean_gap_nats": bound.mean_gap,
            "allowed_behind_nats": bound.behind,
        },
    )
