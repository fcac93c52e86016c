"""The trainer learns, resumes to the last bit, and stops before a number that is none."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from transformers import Qwen2ForCausalLM

from dyna.config import OptimizerConfig
from dyna.training.models import tiny_config
from dyna.training.trainer import TokenTrainer, learning_rate_at
from dyna.types import TrainingSample

VOCAB = 29
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, warmup_steps=2, tokens_per_batch=200)


def tiny_trainer(*, seed: int = 0, optimizer: OptimizerConfig = OPTIMIZER) -> TokenTrainer:
    torch.manual_seed(seed)
    config = tiny_config(VOCAB, hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64)
    return TokenTrainer(Qwen2ForCausalLM(config), optimizer=optimizer)


def counting_samples(num: int) -> list[TrainingSample]:
    rng = random.Random(0)
    samples = []
    for _ in range(num):
        start, length = rng.randrange(VOCAB), rng.randint(5, 40)
        ids = tuple((start + i) % VOCAB for i in range(length))
        samples.append(TrainingSample(token_ids=ids, ce=(0.0,) + (1.0,) * (length - 1)))
    return samples


def test_it_learns_to_count() -> None:
    trainer = tiny_trainer()
    samples = counting_samples(60)
    first = trainer.train(samples, epochs=20, seed=0)
    last = trainer.train(samples, epochs=1, seed=1)
    assert last["loss_ce"] < 0.1 * first["loss_ce"]
    assert trainer.version == 2


def test_resume_equals_going_on_to_the_last_bit(tmp_path: Path) -> None:
    samples = counting_samples(20)
    straight = tiny_trainer()
    for update in range(4):
        straight.train(samples, epochs=1.5, seed=update)
    begun = tiny_trainer()
    for update in range(2):
        begun.train(samples, epochs=1.5, seed=update)
    begun.save(str(tmp_path))
    resumed = tiny_trainer(seed=9)
    resumed.load(str(tmp_path))
    assert resumed.version == 2
    for update in range(2, 4):
        resumed.train(samples, epochs=1.5, seed=update)
    expected = straight.weights()
    for name, tensor in resumed.weights().items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.version == straight.version == 4
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".json", ".safetensors")]


def test_the_reference_survives_a_resume(tmp_path: Path) -> None:
    trainer = tiny_trainer()
    trainer.freeze_reference()
    trainer.train(counting_samples(10), epochs=1, seed=0)
    kl = [TrainingSample(token_ids=(1, 2, 3), ref_kl=(0, 1, 1))]
    expected = trainer.forward_backward(kl)["loss_ref_kl"]
    assert expected > 1e-4
    trainer.save(str(tmp_path))
    resumed = tiny_trainer(seed=3)
    resumed.load(str(tmp_path))
    assert resumed.forward_backward(kl)["loss_ref_kl"] == expected


def test_the_reference_moves_its_share_of_the_way() -> None:
    trainer = tiny_trainer()
    with pytest.raises(ValueError, match="no reference to move"):
        trainer.update_reference(0.5)
    trainer.freeze_reference()
    trainer.train(counting_samples(10), epochs=1, seed=0)
    kl = [TrainingSample(token_ids=(1, 2, 3), ref_kl=(0, 1, 1))]
    far = trainer.forward_backward(kl)["loss_ref_kl"]
    trainer.update_reference(0.0)
    assert trainer.forward_backward(kl)["loss_ref_kl"] == far
    trainer.update_reference(0.5)
    # The KL is about quadratic in the distance.
    assert trainer.forward_backward(kl)["loss_ref_kl"] == pytest.approx(far / 4, rel=0.5)
    trainer.update_reference(1.0)
    assert trainer.forward_backward(kl)["loss_ref_kl"] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match="slow_copy must be in"):
        trainer.update_reference(1.5)


def test_a_reference_of_few_bits_is_no_average() -> None:
    trainer = TokenTrainer(tiny_trainer().model.bfloat16(), optimizer=OPTIMIZER)
    trainer.freeze_reference()
    with pytest.raises(ValueError, match=r"float32 weights.*policy\.model\.dtype=float32"):
        trainer.update_reference(0.5)


def test_nothing_to_learn_changes_nothing() -> None:
    trainer = tiny_trainer()
    before = trainer.weights()
    assert trainer.train([], epochs=1, seed=0) == {"optimizer_steps": 0.0}
    assert trainer.version == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.weights().items())


def test_weights_are_copies_that_load_again() -> None:
    trainer, other = tiny_trainer(), tiny_trainer(seed=5)
    kept = trainer.weights()
    assert kept["lm_head.weight"] is kept["model.embed_tokens.weight"]
    other.load_weights(kept)
    trainer.train(counting_samples(10), epochs=1, seed=0)
    for name, tensor in other.weights().items():
        assert torch.equal(tensor, kept[name])
    assert not torch.equal(kept["lm_head.weight"], trainer.weights()["lm_head.weight"])


def test_a_loss_that_is_no_number_stops_before_the_weights() -> None:
    trainer = tiny_trainer()
    before = trainer.weights()
    wild = TrainingSample(
        token_ids=(1, 2), rl=(0, -1e30), rl_mask=(0, 1), old_log_probs=(0, -300.0)
    )
    with pytest.raises(FloatingPointError, match=r"optimizer step 0 of 1: the loss is"):
        trainer.train([wild], epochs=1, seed=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.weights().items())
    assert trainer.train(counting_samples(3), epochs=1, seed=0)["optimizer_steps"] >= 1


def test_a_gradient_that_is_no_number_stops_before_the_weights() -> None:
    trainer = tiny_trainer()
    before = trainer.weights()
    trainer.forward_backward(counting_samples(2))
    next(iter(trainer.model.parameters())).grad.fill_(float("inf"))  # type: ignore[union-attr]
    with pytest.raises(FloatingPointError, match="gradient"):
        trainer.optimizer_step(1e-3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.weights().items())


def test_progress_is_told_after_every_step() -> None:
    told: list[tuple[int, int]] = []
    trainer = tiny_trainer()
    metrics = trainer.train(
        counting_samples(30),
        epochs=1,
        seed=0,
        on_step=lambda done, total: told.append((done, total)),
    )
    total = int(metrics["optimizer_steps"])
    assert total > 1
    assert told == [(done, total) for done in range(1, total + 1)]


def test_learning_rate_warms_up_then_falls() -> None:
    config = OptimizerConfig(warmup_steps=2, final_fraction=0.1)
    rates = [learning_rate_at(step, total=5, peak=1.0, config=config) for step in range(5)]
    assert rates == pytest.approx([0.5, 1.0, 0.7, 0.4, 0.1])
    assert learning_rate_at(0, total=1, peak=2.0, config=config) == 2.0


def test_weight_decay_spares_vectors() -> None:
    trainer = tiny_trainer(optimizer=OptimizerConfig(weight_decay=0.5))
    before = trainer.weights()
    for parameter in trainer.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer_step(0.1)
    for name, parameter in trainer.model.named_parameters():
        share = 0.95 if parameter.ndim >= 2 else 1.0
        torch.testing.assert_close(parameter.detach(), share * before[name])


@pytest.mark.parametrize("name", ["trainer.json", "weights.safetensors", "optimizer.safetensors"])
def test_a_half_written_save_is_named(tmp_path: Path, name: str) -> None:
    trainer = tiny_trainer()
    trainer.train(counting_samples(3), epochs=1, seed=0)
    trainer.save(str(tmp_path))
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=name):
        tiny_trainer().load(str(tmp_path))
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=name):
        tiny_trainer().load(str(tmp_path))


def test_a_save_of_another_model_is_refused(tmp_path: Path) -> None:
    tiny_trainer().save(str(tmp_path))
    torch.manual_seed(0)
    larger = Qwen2ForCausalLM(tiny_config(VOCAB + 1, hidden_size=48, num_layers=2, num_heads=2))
    with pytest.raises(ValueError, match="another model"):
        TokenTrainer(larger, optimizer=OPTIMIZER).load(str(tmp_path))
    state = json.loads((tmp_path / "trainer.json").read_text())
    (tmp_path / "trainer.json").write_text(json.dumps({**state, "format": "other"}))
    with pytest.raises(ValueError, match="format"):
        tiny_trainer().load(str(tmp_path))
