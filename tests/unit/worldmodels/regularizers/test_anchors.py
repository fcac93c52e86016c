"""L2 and EWC: where the springs are fixed, how stiff they are, and when."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dyna.seeding import derive_seed
from dyna.training.losses import target_distribution
from dyna.training.packing import pack
from dyna.training.penalties import Quadratic
from dyna.training.weights import trainable
from dyna.types import TrainingSample
from tests.unit.worldmodels.regularizers.counting import (
    VOCAB,
    copies,
    counting,
    learn,
    make_trainer,
    make_update,
)
from worldmodels.regularizers.ewc import OnlineEWC
from worldmodels.regularizers.fisher import Labels, diagonal_fisher
from worldmodels.regularizers.l2 import L2Anchor
from worldmodels.regularizers.memory import bytes_of


@pytest.mark.parametrize("make", [L2Anchor, OnlineEWC])
def test_the_first_experience_is_learned_freely(make: Any) -> None:
    trainer, regularizer = make_trainer(), make()
    regularizer.begin_experience("a")
    for number in range(2):
        assert not regularizer.begin(make_update(trainer, number=number)).penalties


@pytest.mark.parametrize("lora", [0, 2], ids=["whole", "lora"])
def test_l2_pulls_to_where_the_previous_experience_ended(lora: int) -> None:
    trainer, l2 = make_trainer(lora=lora), L2Anchor(strength=0.3)
    learn(l2, make_update(trainer, number=0), experience="a")
    learn(l2, make_update(trainer, number=1))
    ended = copies(trainer)
    learn(l2, make_update(trainer, number=2), experience="b")
    (penalty,) = l2.begin(make_update(trainer, number=3)).penalties
    now = trainable(trainer.model)
    assert any(not torch.equal(now[name], ended[name]) for name in ended)
    for name, weight in now.items():
        pull = penalty.gradient(name, weight=weight.detach())
        torch.testing.assert_close(pull, 0.3 * (weight.detach() - ended[name]))
    assert l2.num_bytes == bytes_of(trainer.model)


@pytest.mark.parametrize("lora", [0, 2], ids=["whole", "lora"])
def test_ewc_pulls_by_its_fisher_and_its_decay(lora: int) -> None:
    trainer = make_trainer(lora=lora)
    ewc = OnlineEWC(strength=2.0, gamma=0.5, num_samples=100, normalized=False)
    anchors, fishers = [], []
    for number, name in enumerate("abc"):
        if number:
            # What it must find: the Fisher of the samples of the experience before, here and now.
            kept = make_update(trainer, number=number - 1).fresh
            seed = make_update(trainer, number=number).seed
            fishers.append(
                diagonal_fisher(
                    trainer.model, kept, labels=Labels.MODEL, seed=derive_seed(seed, "fisher")
                )
            )
            anchors.append(copies(trainer))
        learn(ewc, make_update(trainer, number=number), experience=name)
    (penalty,) = ewc.begin(make_update(trainer, number=3)).penalties
    assert isinstance(penalty, Quadratic)
    for name, weight in trainable(trainer.model).items():
        fisher = 0.5 * fishers[0][name] + fishers[1][name]
        expected = 2.0 * fisher * (weight.detach() - anchors[1][name])
        torch.testing.assert_close(penalty.gradient(name, weight=weight.detach()), expected)


def test_a_normalized_fisher_has_a_mean_of_one() -> None:
    trainer, ewc = make_trainer(), OnlineEWC()
    learn(ewc, make_update(trainer, number=0), experience="a")
    ewc.begin_experience("b")
    (penalty,) = ewc.begin(make_update(trainer)).penalties
    assert isinstance(penalty, Quadratic) and penalty.importance is not None
    entries = torch.cat([tensor.flatten() for tensor in penalty.importance.values()])
    assert float(entries.mean()) == pytest.approx(1.0, rel=1e-4)
    assert float(entries.min()) >= 0.0


def test_ewc_keeps_a_bounded_sample_and_lets_it_go_once_it_is_used() -> None:
    trainer, ewc = make_trainer(), OnlineEWC(num_samples=5)
    learn(ewc, make_update(trainer, number=0), experience="a")
    tokens = 5 * 10
    assert ewc.num_bytes == 8 * 2 * tokens
    ewc.begin_experience("b")
    ewc.begin(make_update(trainer, fresh=counting(step=3, num=1)))
    assert ewc.num_bytes == 2 * bytes_of(trainer.model) + 8 * 2 * 10


def test_what_a_refused_update_was_learned_from_is_not_kept() -> None:
    trainer, ewc = make_trainer(), OnlineEWC()
    learn(ewc, make_update(trainer, number=0), experience="a")
    ewc.note_verdict(True)
    kept = ewc.num_bytes
    learn(ewc, make_update(trainer, number=1))
    assert ewc.num_bytes > kept
    ewc.note_verdict(False)
    assert ewc.num_bytes == kept


def test_the_fisher_of_true_labels_is_the_mean_square_of_the_gradients() -> None:
    trainer = make_trainer()
    one, two = counting(step=1, num=2)
    found = diagonal_fisher(trainer.model, [one, two], labels=Labels.TRUE, seed=0)
    expected = {name: torch.zeros_like(tensor) for name, tensor in found.items()}
    for sample in (one, two):
        (row,) = pack([sample], max_tokens=99, max_targets=99, device=torch.device("cpu"))
        trainer.model.zero_grad()
        target_distribution(trainer.model, row=row).gather(1, row.targets[:, None]).sum().backward()
        for name, parameter in trainable(trainer.model).items():
            assert parameter.grad is not None
            expected[name] += parameter.grad.square() / 18
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name])


def test_the_fisher_of_drawn_labels_is_that_of_the_model() -> None:
    """One token, so that the whole expectation can be written down: sum p_y (d log p_y)^2.

    Means of 4000 draws; entries of the bias-like norm weights must agree to 15%. Their standard
    error is below 3%, so a right estimate fails with a probability below 1e-6.
    """
    trainer = make_trainer()
    sample = TrainingSample(token_ids=(3, 4), ce=(0.0, 1.0))
    name = "model.norm.weight"
    weight = trainable(trainer.model)[name]
    (row,) = pack([sample], max_tokens=9, max_targets=9, device=torch.device("cpu"))
    log_probs = target_distribution(trainer.model, row=row)[0]
    expected = torch.zeros_like(weight)
    for token in range(VOCAB):
        (gradient,) = torch.autograd.grad(log_probs[token], weight, retain_graph=True)
        expected += log_probs[token].exp().detach() * gradient.square()
    found = diagonal_fisher(trainer.model, [sample] * 4000, labels=Labels.MODEL, seed=0)[name]
    torch.testing.assert_close(found.sum(), expected.sum(), rtol=0.15, atol=0.0)


def test_the_fisher_touches_no_gradient() -> None:
    trainer = make_trainer()
    diagonal_fisher(trainer.model, counting(step=1), labels=Labels.MODEL, seed=0)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())
    with pytest.raises(ValueError, match="none of 0 samples"):
        diagonal_fisher(trainer.model, [], labels=Labels.MODEL, seed=0)


@pytest.mark.parametrize(
    ("params", "lesson"),
    [
        ({"strength": 0.0}, "strength must be > 0, got 0.0"),
        ({"gamma": 1.5}, r"gamma must be in \[0, 1\], got 1.5"),
        ({"num_samples": 0}, "num_samples must be >= 1, got 0"),
        ({"labels": "modle"}, "labels must be one of model, true, got 'modle'"),
    ],
)
def test_ewc_refuses_what_makes_no_sense(params: dict[str, Any], lesson: str) -> None:
    with pytest.raises(ValueError, match=lesson):
        OnlineEWC(**params)
