"""The smallest model, and two things to learn that contradict each other."""

from __future__ import annotations

from torch import Tensor

from dyna.config import LoRAConfig, OptimizerConfig
from dyna.protocols import HasExperiences, ModelUpdate, Regularizer
from dyna.testing import tiny_model
from dyna.training.lora import inject_lora
from dyna.training.trainer import TokenTrainer
from dyna.training.weights import trainable
from dyna.types import Metrics, TrainingSample
from worldmodels.regularizers.losses import mean_loss

VOCAB = 31
OPTIMIZER = OptimizerConfig(learning_rate=5e-3, warmup_steps=0, tokens_per_batch=120)


def counting(*, step: int, num: int = 20) -> tuple[TrainingSample, ...]:
    """Sequences that count by `step`, from anywhere."""
    return tuple(
        TrainingSample(
            token_ids=tuple((start + i * step) % VOCAB for i in range(10)),
            ce=(0.0,) + (1.0,) * 9,
        )
        for start in range(num)
    )


def make_trainer(*, lora: int = 0) -> TokenTrainer:
    model = tiny_model(VOCAB, hidden_size=32, num_layers=1, initializer_range=0.1)
    if lora:
        inject_lora(model, config=LoRAConfig(rank=lora))
    return TokenTrainer(model, optimizer=OPTIMIZER)


def make_update(
    trainer: TokenTrainer,
    *,
    number: int = 1,
    fresh: tuple[TrainingSample, ...] = (),
    replayed: tuple[TrainingSample, ...] = (),
) -> ModelUpdate:
    return ModelUpdate(
        trainer=trainer,
        fresh=fresh or counting(step=1 + number),
        replayed=replayed,
        number=number,
        seed=number,
    )


def learn(
    regularizer: Regularizer, update: ModelUpdate, *, experience: str = "", epochs: float = 4.0
) -> Metrics:
    """One update, as the learner does it."""
    if experience and isinstance(regularizer, HasExperiences):
        regularizer.begin_experience(experience)
    begun = regularizer.begin(update)
    samples = [*begun.fresh, *begun.replayed]
    begun.trainer.train(samples, epochs=epochs, seed=begun.seed, penalties=begun.penalties)
    return regularizer.end(begun)


def loss(trainer: TokenTrainer, samples: tuple[TrainingSample, ...]) -> float:
    return mean_loss(trainer.model, samples)


def copies(trainer: TokenTrainer) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in trainable(trainer.model).items()}
