"""The list: every check by name, what it does, and how long it may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from experiments.gpu_check.findings import Finding
from experiments.gpu_check.parity import check_parity
from experiments.gpu_check.round import check_round
from experiments.gpu_check.speed import (
    check_decoding,
    check_device,
    check_training,
    check_weight_push,
)
from experiments.gpu_check.subjects import Bench

_LORA_RANK = 32
_MODELS = ("0.5b", "7b")
_ENGINES = ("transformers", "vllm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    what: str
    run: Callable[[Bench], Finding]
    limit_s: float = 600.0
    """After which its process is ended and the next check begins."""


def _make_list() -> dict[str, Check]:
    found = {"device": Check(what="copy and matrix product", run=check_device, limit_s=120.0)}
    for engine, dtype in (
        ("transformers", "float32"),
        ("transformers", "bfloat16"),
        ("vllm", "bfloat16"),
    ):
        found[f"parity-{engine}-{dtype}"] = Check(
            what=f"log-probs and greedy tokens of `{engine}` against the learner, {dtype}",
            run=partial(check_parity, engine=engine, dtype=dtype),
        )
    for engine in _ENGINES:
        for model in _MODELS:
            found[f"decoding-{engine}-{model}"] = Check(
                what=f"decoding, `{engine}`, {model.upper()}",
                run=partial(check_decoding, engine=engine, model=model),
            )
    for model, rank in (("0.5b", 0), ("7b", _LORA_RANK), ("7b", 0)):
        found[f"training-{model}{'-lora' if rank else ''}"] = Check(
            what=f"training, {model.upper()}, "
            + (f"adapters of rank {rank}" if rank else "every weight"),
            run=partial(check_training, model=model, lora_rank=rank),
        )
    for engine in _ENGINES:
        for model in _MODELS:
            found[f"push-{engine}-{model}"] = Check(
                what=f"weights from learner to `{engine}`, {model.upper()}",
                run=partial(check_weight_push, engine=engine, model=model),
            )
    for engine in _ENGINES:
        found[f"round-{engine}"] = Check(
            what=f"the Dyna round end to end, `{engine}`", run=partial(check_round, engine=engine)
        )
    return found


CHECKS = _make_list()
