"""The seam of regularizers, checked on a few updates of the smallest language model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dyna.config import LoRAConfig, OptimizerConfig
from dyna.protocols import HasExperiences, HasVerdicts, ModelUpdate, Regularizer, Stateful
from dyna.samples import tiny_model
from dyna.testing.requirements import is_a, name_of, require
from dyna.types import TrainingSample

if TYPE_CHECKING:
    from torch import Tensor

    from dyna.training.trainer import TokenTrainer

_VOCAB = 31
_SCRIPT = (("a", 0), ("a", 1), ("b", 2), ("b", 3), ("c", 4))
"""Updates: their experience and their number."""


def check_regularizer(make: Callable[[], Regularizer], *, lora_rank: int = 0) -> None:
    """A regularizer hands on a sound update, counts what it keeps, and goes on after a restore.

    `lora_rank` above 0 gives the model that it is tried on an adapter.
    """
    regularizer = make()
    require(
        is_a(regularizer, Regularizer), f"{name_of(regularizer)} needs `begin`, `end`, `num_bytes`"
    )
    straight = _Play(regularizer, lora_rank=lora_rank)
    for name, number in _SCRIPT:
        straight.update(name, number=number)
    again = _Play(make(), lora_rank=lora_rank)
    for name, number in _SCRIPT:
        again.update(name, number=number)
    require(
        _equal(straight.trainer.weights(), again.trainer.weights()),
        "the same updates must give the same weights: draw from `update.seed` alone",
    )
    _check_resume(make, lora_rank=lora_rank, expected=straight)
    _check_refusal(make, lora_rank=lora_rank)


class _Play:
    """A trainer, a regularizer, and updates whose every seam is looked at."""

    def __init__(self, regularizer: Regularizer, *, lora_rank: int) -> None:
        from dyna.training.lora import inject_lora
        from dyna.training.trainer import TokenTrainer

        model = tiny_model(_VOCAB, seed=1, hidden_size=32, num_layers=1)
        if lora_rank:
            inject_lora(model, config=LoRAConfig(rank=lora_rank))
        optimizer = OptimizerConfig(learning_rate=3e-3, warmup_steps=0, tokens_per_batch=60)
        self.trainer: TokenTrainer = TokenTrainer(model, optimizer=optimizer)
        self.regularizer = regularizer
        self.experience = ""

    def update(self, name: str, *, number: int, accepted: bool = True) -> None:
        if name != self.experience and isinstance(self.regularizer, HasExperiences):
            self.regularizer.begin_experience(name)
        self.experience = name
        given = self._given(number)
        before, version = self.trainer.weights(), self.trainer.version
        begun = self.regularizer.begin(given)
        self._check_begun(begun, given=given)
        require(
            self.trainer.version == version,
            "begin must not train: it changes samples and penalties, or loads weights",
        )
        samples = [*begun.fresh, *begun.replayed]
        self.trainer.train(samples, epochs=2.0, seed=number, penalties=begun.penalties)
        metrics = self.regularizer.end(begun)
        require(
            all(math.isfinite(value) for value in metrics.values()),
            f"metrics must be finite numbers, got {metrics}",
        )
        self._check_weights(before)
        if not accepted:
            self.trainer.load_weights(before)
        if isinstance(self.regularizer, HasVerdicts):
            self.regularizer.note_verdict(accepted)
        kept = self.regularizer.num_bytes
        require(
            is_a(kept, int) and kept >= 0,
            f"num_bytes must be a number of bytes, got {kept!r}",
        )

    def _given(self, number: int) -> ModelUpdate:
        return ModelUpdate(
            trainer=self.trainer,
            fresh=tuple(_counting(step=1 + number, num=6)),
            replayed=tuple(_counting(step=number, num=4)) if number else (),
            number=number,
            seed=100 + number,
        )

    def _check_begun(self, begun: ModelUpdate, *, given: ModelUpdate) -> None:
        from dyna.training.packing import StreamTotals
        from dyna.training.weights import trainable

        require(is_a(begun, ModelUpdate), f"begin must return the update, got {name_of(begun)}")
        require(
            begun.trainer is given.trainer
            and (begun.number, begun.seed) == (given.number, given.seed),
            "begin may change the samples and the penalties of an update, and nothing else of it",
        )
        StreamTotals.of([*begun.fresh, *begun.replayed])
        for penalty in begun.penalties:
            for name, weight in trainable(self.trainer.model).items():
                pull = penalty.gradient(name, weight=weight.detach().float())
                require(
                    pull is None
                    or (pull.shape == weight.shape and bool(pull.isfinite().all().item())),
                    f"the gradient of {name_of(penalty)} by {name!r} must be finite and in the "
                    f"shape {tuple(weight.shape)} of the weight",
                )

    def _check_weights(self, before: dict[str, Tensor]) -> None:
        after = self.trainer.weights()
        require(
            {name: tensor.shape for name, tensor in before.items()}
            == {name: tensor.shape for name, tensor in after.items()},
            "a regularizer may change the values of weights, not their names or shapes",
        )
        require(
            all(bool(tensor.isfinite().all().item()) for tensor in after.values()),
            "the weights after an update must be finite",
        )


def _check_resume(make: Callable[[], Regularizer], *, lora_rank: int, expected: _Play) -> None:
    """Cut after every update, saved and restored, the run ends at the same weights."""
    with TemporaryDirectory() as folder:
        play = _Play(make(), lora_rank=lora_rank)
        for name, number in _SCRIPT:
            play.update(name, number=number)
            kept, is_stateful = play.regularizer.num_bytes, isinstance(play.regularizer, Stateful)
            require(
                is_stateful or not kept,
                f"{name_of(play.regularizer)} keeps {kept} bytes between updates, so it needs "
                "`save` and `load`",
            )
            restored = _Play(make(), lora_rank=lora_rank)
            parts = Path(folder) / str(number)
            parts.mkdir()
            for part, fresh, label in (
                (play.trainer, restored.trainer, "trainer"),
                (play.regularizer, restored.regularizer, "regularizer"),
            ):
                (parts / label).mkdir()
                if isinstance(part, Stateful) and isinstance(fresh, Stateful):
                    part.save(str(parts / label))
                    fresh.load(str(parts / label))
            restored.experience = play.experience
            play = restored
    require(
        _equal(play.trainer.weights(), expected.trainer.weights()),
        f"{name_of(play.regularizer)} must go on after a restore as if there had been none",
    )


def _check_refusal(make: Callable[[], Regularizer], *, lora_rank: int) -> None:
    """An update that was refused leaves nothing behind that breaks the next."""
    play = _Play(make(), lora_rank=lora_rank)
    for name, number in _SCRIPT:
        play.update(name, number=number, accepted=number % 2 == 0)


def _counting(*, step: int, num: int) -> list[TrainingSample]:
    """Sequences that count by `step`: what is learned of one step is false for another."""
    ids = [tuple((start + i * step) % _VOCAB for i in range(12)) for start in range(num)]
    sample = TrainingSample(token_ids=(), ce=(0.0,) + (1.0,) * 11)
    return [replace(sample, token_ids=tokens) for tokens in ids]


def _equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(bool((a[name] == b[name]).all().item()) for name in a)


__all__ = ["check_regularizer"]
