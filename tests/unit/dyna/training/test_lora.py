"""Adapters learn, their base never moves, and whoever is given them computes the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, PreTrainedModel

from dyna.config import LoRAConfig, ModelConfig, OptimizerConfig
from dyna.configuring import ConfigError
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import GenerationRequest
from dyna.testing import tiny_model
from dyna.training.lora import adapter_parameters, has_lora, inject_lora, save_adapter
from dyna.training.models import load_model
from dyna.training.packing import can_pack
from dyna.training.trainer import TokenTrainer
from dyna.training.weights import put_weights
from dyna.types import TrainingSample

VOCAB = 31
LORA = LoRAConfig(rank=4, alpha=8.0)
OPTIMIZER = OptimizerConfig(learning_rate=2e-2, warmup_steps=1, tokens_per_batch=200)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    tiny_model(VOCAB, hidden_size=32, initializer_range=0.2).save_pretrained(path)
    return path


def load(folder: Path, *, lora: LoRAConfig = LORA, dtype: str = "float32") -> PreTrainedModel:
    return load_model(ModelConfig(path=str(folder), max_context=64, lora=lora, dtype=dtype))


def counting(num: int) -> list[TrainingSample]:
    samples = []
    for start in range(num):
        ids = tuple((start + i) % VOCAB for i in range(8 + start % 5))
        samples.append(TrainingSample(token_ids=ids, ce=(0.0,) + (1.0,) * (len(ids) - 1)))
    return samples


def base_weights(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if ".lora_" not in n}


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model(input_ids=torch.arange(12)[None]).logits[0]


def test_an_adapter_starts_as_the_base_and_alike_in_every_process(folder: Path) -> None:
    torch.manual_seed(1)
    model = load(folder)
    torch.manual_seed(2)
    again = load(folder)
    assert has_lora(model) and not model.training and can_pack(model)
    assert torch.equal(logits(model), logits(load(folder, lora=LoRAConfig())))
    for (name, mine), other in zip(
        adapter_parameters(model).items(), adapter_parameters(again).values(), strict=True
    ):
        assert torch.equal(mine, other)
        assert bool(mine.any()) == (".lora_A." in name)
        assert mine.requires_grad
    assert not any(p.requires_grad for n, p in model.named_parameters() if ".lora_" not in n)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_learns_and_its_base_does_not_move_by_a_bit(folder: Path, dtype: str) -> None:
    trainer = TokenTrainer(load(folder, dtype=dtype), optimizer=OPTIMIZER)
    before = base_weights(trainer.model)
    first = trainer.train(counting(20), epochs=1, seed=0)
    trainer.train(counting(20), epochs=30, seed=1)
    last = trainer.train(counting(20), epochs=1, seed=2)
    assert last["loss_ce"] < 0.4 * first["loss_ce"]
    for name, tensor in base_weights(trainer.model).items():
        assert torch.equal(tensor, before[name]), name
    weights = trainer.weights()
    assert set(weights) == set(adapter_parameters(trainer.model))
    assert all(tensor.dtype == trainer.model.dtype for tensor in weights.values())


def test_peft_reads_what_is_saved_and_merging_changes_no_answer(
    folder: Path, tmp_path: Path
) -> None:
    trainer = TokenTrainer(load(folder), optimizer=OPTIMIZER)
    trainer.train(counting(20), epochs=4, seed=0)
    save_adapter(trainer.model, folder=tmp_path / "adapter", base_model=str(folder))
    assert sorted(p.name for p in (tmp_path / "adapter").glob("*.[sj]*")) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    saved = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert saved.keys() == trainer.weights().keys()
    base: Any = AutoModelForCausalLM.from_pretrained(folder)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(logits(loaded), logits(trainer.model))
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(logits(merged), logits(trainer.model), atol=1e-5, rtol=1e-4)


def test_an_engine_given_the_adapter_says_what_the_learner_would(folder: Path) -> None:
    trainer = TokenTrainer(load(folder), optimizer=OPTIMIZER)
    engine = TransformersEngine(load(folder), max_batch=4, max_context=64)
    trainer.train(counting(20), epochs=8, seed=0)
    engine.load_weights(trainer.weights(), version=3)
    request = GenerationRequest(
        conversation_id="c", prompt_ids=(1, 2, 3), max_new_tokens=6, stop_ids=(), seed=5
    )
    completion = asyncio.run(engine.generate(request))
    assert completion.weights_version == 3
    ids = (*request.prompt_ids, *completion.token_ids)
    mask = (0.0,) * 3 + (1.0,) * len(completion.token_ids)
    sample = TrainingSample(token_ids=ids, rl=mask, rl_mask=mask, old_log_probs=mask)
    scores = trainer.log_probs([sample])[0][3:]
    assert scores == pytest.approx(completion.log_probs, abs=1e-4)


def test_the_reference_is_the_adapter_of_another_moment(folder: Path) -> None:
    trainer = TokenTrainer(load(folder), optimizer=OPTIMIZER)
    trainer.train(counting(20), epochs=2, seed=0)
    trainer.freeze_reference()
    kl = [TrainingSample(token_ids=(1, 2, 3, 9, 8), ref_kl=(0, 1, 1, 1, 1))]
    assert trainer.forward_backward(kl)["loss_ref_kl"] == pytest.approx(0.0, abs=1e-7)
    frozen = load(folder)
    put_weights(frozen, trainer.weights())
    trainer.train(counting(20), epochs=2, seed=1)
    now = trainer.weights()
    found = trainer.forward_backward(kl)["loss_ref_kl"]
    with torch.no_grad():
        ids = torch.tensor([kl[0].token_ids])
        mine = torch.log_softmax(trainer.model(input_ids=ids).logits[0, :-1], -1)
        theirs = torch.log_softmax(frozen(input_ids=ids).logits[0, :-1], -1)
    expected = (mine.exp() * (mine - theirs)).sum(1).mean().item()
    assert found == pytest.approx(expected, rel=1e-3) and found > 1e-3
    assert all(torch.equal(tensor, now[name]) for name, tensor in trainer.weights().items())


def test_a_resumed_adapter_goes_on_to_the_last_bit(folder: Path, tmp_path: Path) -> None:
    straight = TokenTrainer(load(folder), optimizer=OPTIMIZER)
    straight.freeze_reference()
    straight.train(counting(20), epochs=2, seed=0)
    straight.save(str(tmp_path / "saved"))
    size = sum(path.stat().st_size for path in (tmp_path / "saved").iterdir())
    assert size < 5 * 4 * sum(p.numel() for p in adapter_parameters(straight.model).values()) + 9e4
    resumed = TokenTrainer(load(folder), optimizer=OPTIMIZER)
    resumed.load(str(tmp_path / "saved"))
    assert resumed.has_reference
    for trainer in (straight, resumed):
        trainer.train(counting(20), epochs=2, seed=1)
    expected = straight.weights()
    assert all(torch.equal(t, expected[name]) for name, t in resumed.weights().items())


def test_an_adapter_of_another_base_is_refused_before_anything_changes(
    folder: Path, tmp_path: Path
) -> None:
    wide = tmp_path / "wide"
    tiny_model(VOCAB, hidden_size=64, num_layers=2).save_pretrained(wide)
    deep = tmp_path / "deep"
    tiny_model(VOCAB, hidden_size=32, num_layers=3).save_pretrained(deep)
    trainer = TokenTrainer(load(folder), optimizer=OPTIMIZER)
    engine = TransformersEngine(load(folder), max_batch=2, max_context=64)
    before = trainer.weights()
    for other, said in ((wide, "must have shape"), (deep, "names the model lacks")):
        foreign = TokenTrainer(load(other), optimizer=OPTIMIZER)
        with pytest.raises(ValueError, match=f"{said}.*another base model"):
            trainer.load_weights(foreign.weights())
        with pytest.raises(ValueError, match=f"{said}.*another base model"):
            engine.load_weights(foreign.weights(), version=1)
        foreign.save(str(tmp_path / "foreign"))
        with pytest.raises(ValueError, match="another model"):
            trainer.load(str(tmp_path / "foreign"))
    with pytest.raises(ValueError, match="names the model lacks"):
        trainer.load_weights(load(folder, lora=LoRAConfig()).state_dict())
    assert engine.weights_version == 0
    assert all(torch.equal(t, before[name]) for name, t in trainer.weights().items())


def test_layers_that_are_not_there_are_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"\['query'\].*q_proj"):
        load(folder, lora=LoRAConfig(rank=2, target_modules=["q_proj", "query"]))
    with pytest.raises(ValueError, match="no adapter"):
        save_adapter(tiny_model(VOCAB), folder=folder / "a", base_model="x")


def test_adapters_without_a_checkpoint_can_be_put_into_any_model() -> None:
    model = tiny_model(VOCAB)
    inject_lora(model, config=LoRAConfig(rank=1, target_modules=["o_proj"]))
    assert len(adapter_parameters(model)) == 2 * model.config.num_hidden_layers
