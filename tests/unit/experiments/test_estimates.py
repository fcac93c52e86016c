"""Estimates of memory against what torch really holds, and what they say when it is too much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dyna.config import LoRAConfig, ModelConfig, OptimizerConfig, RunConfig, Sharding
from dyna.engines.kv_cache import SlotCache
from dyna.testing import tiny_model
from dyna.training.lora import inject_lora
from dyna.training.losses import target_distribution
from dyna.training.packing import pack
from dyna.training.passes import enable_checkpointing, one_pass
from dyna.training.trainer import TokenTrainer
from dyna.types import TrainingSample
from experiments.arithmetic import ModelShape
from experiments.estimates import KNOWN_GPUS, L40S, TooLittleMemoryError, estimate
from experiments.memory import (
    activation_bytes,
    cache_bytes,
    engine_bytes,
    learner_bytes,
    shape_of,
)

VOCAB = 61
LENGTH = 48
SAMPLE = TrainingSample(
    token_ids=tuple(i % VOCAB for i in range(LENGTH + 1)), ce=(0.0,) + (1.0,) * LENGTH
)
LORA = LoRAConfig(rank=2, alpha=4.0)


def make(*, lora: LoRAConfig | None = None, dtype: torch.dtype = torch.float32) -> Any:
    model = tiny_model(VOCAB, hidden_size=64, num_layers=3).to(dtype)  # pyright: ignore
    if lora is not None:
        inject_lora(model, config=lora)
    return model


def config_of(model: Any, *, lora: LoRAConfig | None = None) -> ModelConfig:
    dtype = str(next(model.parameters()).dtype).removeprefix("torch.")
    return ModelConfig(path="x", dtype=dtype, max_context=LENGTH, lora=lora or LoRAConfig())


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_weights_gradients_and_moments_are_what_a_trainer_holds(
    lora: LoRAConfig | None, dtype: torch.dtype
) -> None:
    model = make(lora=lora, dtype=dtype)
    trainer = TokenTrainer(model, optimizer=OptimizerConfig())
    trainer.freeze_reference()
    trainer.forward_backward([SAMPLE])
    trained = trainer._optimizer.touched()
    gradients = sum(p.grad.nbytes for p in trained if p.grad is not None)
    trainer.optimizer_step(1e-3)
    state = trainer._optimizer.state()
    found = learner_bytes(
        ModelShape.of(model.config.to_dict()),
        model=config_of(model, lora=lora),
        optimizer=OptimizerConfig(),
        has_reference=True,
    )
    weights = sum(p.nbytes for p in model.parameters())
    masters = sum(t.nbytes for name, t in state.items() if name.endswith("/master"))
    moments = sum(t.nbytes for name, t in state.items() if "/exp_avg" in name)
    assert found["weights"] == weights
    assert found.get("masters (float32)", 0) == masters
    assert found["gradients (float32)"] == gradients
    assert found["moments of AdamW"] == moments
    reference = trainer._reference
    assert reference is not None
    assert found["reference for the KL"] == sum(t.nbytes for t in reference.values())


def kept_for_backward(model: Any, *, checkpointing: bool) -> int:
    """Bytes that autograd holds between the two passes, beside parameters, without the logits'."""
    if checkpointing:
        enable_checkpointing(model)
    (row,) = pack([SAMPLE], max_tokens=4096, max_targets=4096, device=torch.device("cpu"))
    mine = {p.untyped_storage().data_ptr() for p in model.parameters()}
    held: dict[int, int] = {}
    alive: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in mine and tensor.shape[-1:] != (VOCAB,):
            held[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # so that no address is used twice
        return tensor

    with one_pass(model, row=row), torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        alive.append(target_distribution(model, row=row))
    return sum(held.values())


@pytest.mark.parametrize("lora", [None, LORA], ids=["whole", "lora"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_activations_are_about_what_autograd_keeps(
    lora: LoRAConfig | None, dtype: torch.dtype
) -> None:
    model = make(lora=lora, dtype=dtype)
    optimizer = OptimizerConfig(tokens_per_pass=LENGTH)
    shape = ModelShape.of(model.config.to_dict())
    settings = config_of(model, lora=lora)
    found = activation_bytes(shape, model=settings, optimizer=optimizer)
    kept = kept_for_backward(model, checkpointing=False)
    assert found == pytest.approx(kept, rel=0.15)


def test_checkpointing_keeps_the_layers_inputs_alone() -> None:
    model = make()
    shape = ModelShape.of(model.config.to_dict())
    kept = kept_for_backward(model, checkpointing=True)
    inputs = shape.num_layers * LENGTH * shape.hidden * 4
    # Beside them the angles of the positions and what the last norm keeps, once for all layers.
    assert inputs <= kept < 2.5 * inputs
    settings, plain = config_of(model), OptimizerConfig(tokens_per_pass=LENGTH)
    less = activation_bytes(
        shape, model=settings, optimizer=replace(plain, gradient_checkpointing=True)
    )
    assert less < activation_bytes(shape, model=settings, optimizer=plain)


def test_a_cache_is_as_large_as_the_engines() -> None:
    model = make()
    shape = ModelShape.of(model.config.to_dict())
    settings = config_of(model)
    cache = SlotCache(num_rows=4, max_context=LENGTH, dtype=model.dtype, device=torch.device("cpu"))
    engine = replace(RunConfig().engine, max_batch=4)
    found = engine_bytes(shape, model=settings, engine=engine)
    assert found["cache of 4 conversations"] == 4 * cache_bytes(shape, model=settings)
    assert cache_bytes(shape, model=settings) == shape.num_layers * 2 * LENGTH * 64 * 4
    del cache


@pytest.fixture
def large(tmp_path: Path) -> RunConfig:
    """Two of 7B in bfloat16 on GPUs, of which there is nothing but a config.json."""
    from transformers import Qwen2Config

    Qwen2Config(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
    ).save_pretrained(tmp_path)
    model = ModelConfig(path=str(tmp_path), dtype="bfloat16", max_context=4096)
    config = RunConfig()
    return replace(
        config,
        policy=replace(config.policy, model=model),
        world_model=replace(config.world_model, model=model),
        engine=replace(config.engine, num_actors=2, num_gpus=1.0),
        runtime=replace(config.runtime, num_learners=2, gpus_per_learner=1.0),
    )


def learner_total(config: RunConfig) -> float:
    return next(p.total for p in estimate(config).places if p.name == "learner")


def test_a_7b_run_is_counted_without_its_weights(large: RunConfig) -> None:
    assert shape_of(large.policy.model).parameters == 7_615_616_512
    whole = learner_total(large)
    assert whole > 2 * 18 * 7.6e9  # both models: bf16, masters, gradients, two moments
    fsdp = replace(large, runtime=replace(large.runtime, sharding=Sharding.FSDP, num_learners=32))
    assert learner_total(fsdp) < whole / 4
    model = replace(large.policy.model, lora=LoRAConfig(rank=16))
    lora = replace(
        large,
        policy=replace(large.policy, model=model),
        world_model=replace(large.world_model, model=model),
    )
    assert learner_total(lora) < whole / 3
    found = estimate(large)
    assert found.train_s > 0 and found.generate_s > 0
    assert found.num_training == 2 and found.num_generating == 4


def test_a_gpu_that_is_too_small_is_refused_with_what_helps(large: RunConfig) -> None:
    with pytest.raises(TooLittleMemoryError) as refused:
        estimate(large, gpu=L40S).check()
    said = str(refused.value)
    assert "learner would need" in said and "L40S has 44.7 GiB" in said
    assert "moments of AdamW 56.7 GiB" in said
    for remedy in ("lora.rank", "sharding=fsdp", "gradient_checkpointing", "tokens_per_pass"):
        assert remedy in said
    model = replace(large.policy.model, lora=LoRAConfig(rank=16))
    optimizer = OptimizerConfig(gradient_checkpointing=True)
    small = replace(
        large,
        policy=replace(large.policy, model=model),
        world_model=replace(large.world_model, model=model),
        policy_learner=replace(large.policy_learner, optimizer=optimizer),
        world_model_learner=replace(large.world_model_learner, optimizer=optimizer),
        engine=replace(large.engine, max_batch=64),
    )
    estimate(small, gpu=KNOWN_GPUS[-1]).check()


def test_places_that_share_a_gpu_are_added_up(large: RunConfig) -> None:
    shared = replace(
        large,
        engine=replace(large.engine, num_gpus=0.5, max_batch=8),
        runtime=replace(large.runtime, gpus_per_learner=0.5),
    )
    assert estimate(shared).colocated
    with pytest.raises(TooLittleMemoryError, match="learner and engine of the policy"):
        estimate(shared).check()


def test_a_model_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no config\.json"):
        shape_of(ModelConfig(path=str(tmp_path)))
    assert shape_of(ModelConfig(path="tiny")) == shape_of(ModelConfig(path="base"))
