"""Two peers in two processes take the steps that one trainer takes, and save what it would."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.multiprocessing.spawn import spawn

from dyna.config import LoRAConfig, ModelConfig, OptimizerConfig
from dyna.testing import tiny_model
from dyna.training.distributed import ShardedTokenTrainer, SharedTokenTrainer
from dyna.training.models import load_model
from dyna.training.tensor_files import TensorFiles
from dyna.training.trainer import TokenTrainer
from dyna.types import SoftTargets, TrainingSample

VOCAB = 31
CPU = torch.device("cpu")
KINDS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"dtype": "bfloat16"},
    "lora": {"dtype": "bfloat16", "lora": LoRAConfig(rank=2, alpha=4.0)},
}


def samples(num: int = 9) -> list[TrainingSample]:
    """Long and short ones: the peers need different numbers of passes."""
    made: list[TrainingSample] = []
    for start in range(num):
        ids = tuple((start + i * (1 + start % 3)) % VOCAB for i in range(4 + 9 * (start % 4)))
        ones = (0.0,) + (1.0,) * (len(ids) - 1)
        soft = tuple(0.1 * v * (start % 2) for v in ones)
        num_soft = sum(map(bool, soft))
        made.append(
            TrainingSample(
                token_ids=ids,
                ce=ones,
                ref_kl=tuple(0.1 * v for v in ones),
                soft=soft,
                soft_targets=SoftTargets(
                    top_k=2, token_ids=(3, 5) * num_soft, log_probs=(-0.7, -1.4) * num_soft
                ),
            )
        )
    return made


def make(folder: str, kind: str, *, trainer: str, checkpointing: bool = False) -> TokenTrainer:
    model = load_model(ModelConfig(path=folder, max_context=64, device="cpu", **KINDS[kind]))
    settings: dict[str, Any] = {
        "optimizer": OptimizerConfig(
            learning_rate=5e-3,
            warmup_steps=1,
            tokens_per_batch=60,
            tokens_per_pass=30,
            gradient_checkpointing=checkpointing,
        )
    }
    if trainer == "sharded":
        return ShardedTokenTrainer(model, device=CPU, **settings)
    return (SharedTokenTrainer if trainer == "shared" else TokenTrainer)(model, **settings)


def peer(rank: int, world_size: int, store: str, base: str, out: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=world_size,
        timeout=timedelta(seconds=30),
    )
    try:
        check_steps(base, kind="float32", which="shared", out=Path(out))
        for kind in KINDS:
            check_steps(base, kind=kind, which="sharded", out=Path(out))
        check_a_bad_loss_is_everybodys(base)
    finally:
        dist.destroy_process_group()


def check_steps(base: str, *, kind: str, which: str, out: Path) -> None:
    alone = make(base, kind, trainer="alone")
    ours = make(base, kind, trainer=which, checkpointing=kind != "bfloat16")
    if which == "sharded":
        frozen_or_trained = next(iter(ours.model.parameters()))
        assert isinstance(frozen_or_trained, DTensor)
        assert frozen_or_trained.to_local().shape[0] < VOCAB
    for trainer in (alone, ours):
        trainer.freeze_reference()
    loose: dict[str, Any] = {"abs": 2e-2, "rel": 5e-2} if kind != "float32" else {"abs": 1e-5}
    for update in range(2):
        expected = alone.train(samples(), epochs=2, seed=update)
        found = ours.train(samples(), epochs=2, seed=update)
        assert found == pytest.approx(expected, **loose), (kind, which)
    same_weights(ours, alone, kind=kind)

    folder = out / f"{kind}-{which}"
    if which == "sharded" or dist.get_rank() == 0:
        ours.save(str(folder))
    dist.barrier()
    resumed = make(base, kind, trainer="alone")
    resumed.load(str(folder))
    assert resumed.version == 2 and resumed.has_reference
    again = make(base, kind, trainer=which)
    again.load(str(folder))
    for trainer in (resumed, again, ours):
        trainer.train(samples(4), epochs=1, seed=7)
    same_weights(again, resumed, kind=kind)
    exact = ours.weights()
    assert all(torch.equal(t, exact[name]) for name, t in again.weights().items())

    whole = out / f"{kind}-{which}-alone"
    if dist.get_rank() == 0:
        resumed.save(str(whole))
    dist.barrier()
    again.load(str(whole))
    back = again.weights()
    assert all(torch.equal(t, back[name]) for name, t in resumed.weights().items() if back)
    again.load_weights(alone.weights())
    put = again.weights()
    assert all(torch.equal(t, put[name]) for name, t in alone.weights().items() if put)


def same_weights(ours: TokenTrainer, alone: TokenTrainer, *, kind: str) -> None:
    found = ours.weights()
    assert bool(found) == (not isinstance(ours, ShardedTokenTrainer) or dist.get_rank() == 0)
    limits: dict[str, Any] = (
        {"atol": 1e-5, "rtol": 1e-4} if kind == "float32" else {"atol": 2e-2, "rtol": 5e-2}
    )
    for name, weight in alone.weights().items():
        if found:
            assert found[name].dtype == weight.dtype
            torch.testing.assert_close(found[name], weight, **limits)


def check_a_bad_loss_is_everybodys(base: str) -> None:
    wild = TrainingSample(
        token_ids=(1, 2), rl=(0, -1e30), rl_mask=(0, 1), old_log_probs=(0, -300.0)
    )
    for which in ("shared", "sharded"):
        trainer = make(base, "float32", trainer=which)
        trainer.freeze_reference()
        before = trainer.weights()
        with pytest.raises(FloatingPointError, match="loss"):
            trainer.train([wild, *samples(3)], epochs=1, seed=0)
        assert all(torch.equal(t, before[name]) for name, t in trainer.weights().items())
        assert trainer.train([samples(3)[1]], epochs=1, seed=0)["optimizer_steps"] == 1.0


def test_two_peers_are_one_trainer(tmp_path: Path) -> None:
    base = tmp_path / "base"
    tiny_model(VOCAB, hidden_size=32, initializer_range=0.2).save_pretrained(base)
    spawn(peer, args=(2, str(tmp_path / "store"), str(base), str(tmp_path)), nprocs=2)
    parts = TensorFiles(tmp_path / "bfloat16-sharded", "optimizer")
    assert len(parts.paths) == 2
    assert parts.shapes["model.embed_tokens.weight/exp_avg"] == (VOCAB, 32)
    small, large = (path.stat().st_size for path in sorted(parts.paths, reverse=True))
    assert 0.8 < small / large <= 1.0
    suffixes = {path.suffix for path in tmp_path.rglob("*") if path.is_file()} - {""}
    assert suffixes == {".json", ".safetensors"}
