"""Settings that trade time and precision for memory do not change what is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from dyna.config import LoRAConfig, OptimizerConfig
from dyna.configuring import ConfigError
from dyna.testing import tiny_model
from dyna.training.lora import inject_lora
from dyna.training.trainer import TokenTrainer
from dyna.types import TrainingSample

VOCAB = 31


def make(*, dtype: torch.dtype = torch.float32, lora: bool = False) -> PreTrainedModel:
    model = tiny_model(VOCAB, hidden_size=32, initializer_range=0.2)
    model.to(dtype)  # pyright: ignore[reportArgumentType]
    if lora:
        inject_lora(model, config=LoRAConfig(rank=2, alpha=4.0))
    return model


def counting(num: int) -> list[TrainingSample]:
    samples = []
    for start in range(num):
        ids = tuple((start + i) % VOCAB for i in range(6 + start % 7))
        ones = (0.0,) + (1.0,) * (len(ids) - 1)
        samples.append(TrainingSample(token_ids=ids, ce=ones, ref_kl=tuple(0.2 * v for v in ones)))
    return samples


def cloning(num: int) -> list[TrainingSample]:
    return [TrainingSample(token_ids=s.token_ids, ce=s.ce) for s in counting(num)]


def gradients(model: PreTrainedModel, *, optimizer: OptimizerConfig) -> list[torch.Tensor]:
    trainer = TokenTrainer(model, optimizer=optimizer)
    trainer.freeze_reference()
    trainer.forward_backward(counting(9))
    return [p.grad.clone() for p in trainer._optimizer.touched() if p.grad is not None]


@pytest.mark.parametrize("lora", [False, True], ids=["whole", "lora"])
@pytest.mark.parametrize("tokens_per_pass", [1, 4096], ids=["one per row", "packed"])
def test_checkpointing_changes_no_gradient(lora: bool, tokens_per_pass: int) -> None:
    plain = OptimizerConfig(tokens_per_pass=tokens_per_pass)
    saving = OptimizerConfig(tokens_per_pass=tokens_per_pass, gradient_checkpointing=True)
    expected = gradients(make(lora=lora), optimizer=plain)
    model = make(lora=lora)
    found = gradients(model, optimizer=saving)
    assert len(found) == len(expected) > 0
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert not any(module.training for module in model.modules())


def test_checkpointing_runs_each_layer_again_on_the_way_back() -> None:
    model = make()
    calls: list[str] = []
    for layer in model.get_submodule("model.layers").children():
        layer.self_attn.register_forward_hook(lambda *_: calls.append("ran"))  # pyright: ignore
    trainer = TokenTrainer(model, optimizer=OptimizerConfig(gradient_checkpointing=True))
    trainer.forward_backward([TrainingSample(token_ids=(1, 2, 3), ce=(0, 1, 1))])
    assert len(calls) == 2 * model.config.num_hidden_layers


def test_a_model_that_cannot_checkpoint_is_refused() -> None:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=1, n_head=2))
    model.supports_gradient_checkpointing = False
    with pytest.raises(ConfigError, match=r"gradient_checkpointing.*GPT2LMHeadModel"):
        TokenTrainer(model, optimizer=OptimizerConfig(gradient_checkpointing=True))


@pytest.mark.parametrize("tokens_per_pass", [1, 20])
def test_any_number_of_passes_makes_the_same_step_in_bfloat16(tokens_per_pass: int) -> None:
    """Each pass rounds its own gradients; their sum is exact."""
    expected = gradients(make(dtype=torch.bfloat16), optimizer=OptimizerConfig())
    few = OptimizerConfig(tokens_per_pass=tokens_per_pass)
    for mine, theirs in zip(
        gradients(make(dtype=torch.bfloat16), optimizer=few), expected, strict=True
    ):
        assert mine.dtype == torch.float32
        scale = theirs.abs().max().item()
        torch.testing.assert_close(mine, theirs, atol=0.03 * scale, rtol=0.1)


def test_steps_too_small_for_bfloat16_add_up() -> None:
    """Adam's steps are as large as the rate, here 1/16 of the gap between two numbers near 1."""
    model = make(dtype=torch.bfloat16)
    norm = model.get_parameter("model.norm.weight")
    before = norm.detach().float().clone()
    trainer = TokenTrainer(model, optimizer=OptimizerConfig(weight_decay=0.0))
    for _ in range(40):
        trainer.forward_backward(cloning(4))
        trainer.optimizer_step(5e-4)
    moved = (norm.detach().float() - before).abs().max().item()
    assert 40 * 5e-4 / 3 < moved < 40 * 5e-4 * 1.5


def test_a_bfloat16_model_learns_and_resumes_to_the_last_bit(tmp_path: Path) -> None:
    settings = OptimizerConfig(learning_rate=4e-3, warmup_steps=2, tokens_per_batch=100)
    trainer = TokenTrainer(make(dtype=torch.bfloat16), optimizer=settings)
    trainer.freeze_reference()
    samples = cloning(20)
    first = trainer.train(samples, epochs=1, seed=0)
    trainer.train(samples, epochs=25, seed=1)
    last = trainer.train(samples, epochs=1, seed=2)
    assert last["loss_ce"] < 0.25 * first["loss_ce"]
    assert all(tensor.dtype == torch.bfloat16 for tensor in trainer.weights().values())
    trainer.save(str(tmp_path))
    resumed = TokenTrainer(make(dtype=torch.bfloat16), optimizer=settings)
    resumed.load(str(tmp_path))
    for each in (trainer, resumed):
        each.train(counting(20), epochs=2, seed=3)
    states = trainer._optimizer.state(), resumed._optimizer.state()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    expected = trainer.weights()
    assert all(torch.equal(t, expected[name]) for name, t in resumed.weights().items())
