"""A penalty pulls as its formula says, at every step, also on weights that the loss passes by."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from dyna.config import OptimizerConfig
from dyna.testing import tiny_model
from dyna.training.penalties import Quadratic
from dyna.training.trainer import TokenTrainer
from dyna.training.weights import trainable
from dyna.types import TrainingSample

VOCAB = 31
SAMPLES = [
    TrainingSample(token_ids=tuple((start + i) % VOCAB for i in range(9)), ce=(0.0,) + (1.0,) * 8)
    for start in range(6)
]


def make_trainer(*, dtype: torch.dtype = torch.float32, rate: float = 1e-3) -> TokenTrainer:
    model = tiny_model(VOCAB, hidden_size=32, num_layers=1, initializer_range=0.1).to(dtype)  # pyright: ignore[reportArgumentType]
    return TokenTrainer(
        model,
        optimizer=OptimizerConfig(learning_rate=rate, warmup_steps=0, tokens_per_batch=10_000),
    )


def shifted(model_weights: Mapping[str, Tensor], *, by: float) -> dict[str, Tensor]:
    return {name: weight.detach() + by for name, weight in model_weights.items()}


def gradients(trainer: TokenTrainer) -> dict[str, Tensor]:
    return {
        name: parameter.grad.clone()
        for name, parameter in trainable(trainer.model).items()
        if parameter.grad is not None
    }


def test_a_quadratic_is_its_formula() -> None:
    anchor = {"w": torch.tensor([1.0, 2.0, 3.0])}
    importance = {"w": torch.tensor([0.0, 1.0, 10.0])}
    weight = torch.tensor([5.0, 1.5, 3.5])
    plain = Quadratic(strength=0.5, anchor=anchor)
    weighed = Quadratic(strength=0.5, anchor=anchor, importance=importance)
    pull = plain.gradient("w", weight=weight)
    assert pull is not None and pull.tolist() == [2.0, -0.25, 0.25]
    pull = weighed.gradient("w", weight=weight)
    assert pull is not None and pull.tolist() == [0.0, -0.25, 2.5]
    # 0.5 / 2 * (0 * 16 + 1 * 0.25 + 10 * 0.25)
    assert weighed.value({"w": weight}) == pytest.approx(0.25 * 2.75)
    assert weighed.gradient("v", weight=weight) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_penalties_are_added_to_the_gradients_of_the_loss(dtype: torch.dtype) -> None:
    trainer, plain = make_trainer(dtype=dtype), make_trainer(dtype=dtype)
    for each in (trainer, plain):
        each.forward_backward(SAMPLES)
    anchor = shifted(trainable(trainer.model), by=-0.5)
    pulls = [Quadratic(strength=0.2, anchor=anchor), Quadratic(strength=0.3, anchor=anchor)]
    trainer._optimizer.add_penalties(pulls)
    of_loss = {name: p.grad for name, p in zip_trained(plain)}
    for name, parameter in zip_trained(trainer):
        assert parameter.grad is not None and parameter.grad.dtype == torch.float32
        expected = of_loss[name]
        assert expected is not None
        moved = parameter.detach() - anchor[name].float()
        torch.testing.assert_close(parameter.grad, expected + 0.5 * moved)


def zip_trained(trainer: TokenTrainer) -> list[tuple[str, torch.nn.Parameter]]:
    """What AdamW steps, by the name of the model's parameter."""
    return list(zip(trainer._optimizer.parameters, trainer._optimizer.touched(), strict=True))


def test_a_strong_pull_holds_the_weights_where_they_were() -> None:
    free, held = make_trainer(), make_trainer()
    start = {name: weight.detach().clone() for name, weight in trainable(held.model).items()}
    pull = Quadratic(strength=1e4, anchor=start)
    for seed in range(5):
        free.train(SAMPLES, epochs=2, seed=seed)
        held.train(SAMPLES, epochs=2, seed=seed, penalties=[pull])

    def distance(trainer: TokenTrainer) -> float:
        now = trainable(trainer.model)
        return sum(float((now[name].detach() - start[name]).square().sum()) for name in start)

    assert distance(held) < 0.2 * distance(free)


def test_a_pull_moves_weights_that_the_loss_passes_by() -> None:
    trainer = make_trainer()
    name, weight = next((n, p) for n, p in trainable(trainer.model).items() if "norm" in n)
    anchor = {name: weight.detach() + 1.0}
    trainer.optimizer_step(0.1, penalties=[Quadratic(strength=1.0, anchor=anchor)])
    # AdamW's first step is the rate itself, against the sign of the gradient.
    torch.testing.assert_close(weight.detach(), anchor[name] - 0.9)


def test_a_pull_that_is_no_number_is_refused_before_the_step() -> None:
    trainer = make_trainer()
    before = trainer.weights()
    anchor = {name: weight * float("nan") for name, weight in trainable(trainer.model).items()}
    with pytest.raises(FloatingPointError, match="optimizer step 0"):
        pull = Quadratic(strength=1.0, anchor=anchor)
        trainer.train(SAMPLES, epochs=1, seed=0, penalties=[pull])
    assert all(torch.equal(tensor, before[name]) for name, tensor in trainer.weights().items())
