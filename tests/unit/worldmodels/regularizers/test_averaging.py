"""Averaging: the best of its grid goes live, chosen by samples that were not trained on."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dyna.training.weights import put_weights
from tests.unit.worldmodels.regularizers.counting import (
    counting,
    learn,
    loss,
    make_trainer,
    make_update,
)
from worldmodels.regularizers.averaging import WeightAveraging, mixed

OLD, NEW = counting(step=1), counting(step=3)
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def test_a_mixture_is_what_it_says_and_an_end_is_exact() -> None:
    old, new = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, -2.0])}
    assert mixed(old, new=new, alpha=0.25)["w"].tolist() == [1.5, 1.0]
    assert mixed(old, new=new, alpha=0.0)["w"] is old["w"]
    assert mixed(old, new=new, alpha=1.0)["w"] is new["w"]


@pytest.mark.parametrize("lora", [0, 4], ids=["whole", "lora"])
@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_the_best_of_the_grid_goes_live(weight: float, lora: int) -> None:
    trainer = make_trainer(lora=lora)
    trainer.train(OLD, epochs=40, seed=0)
    averaging = WeightAveraging(replayed_weight=weight)
    before = trainer.weights()
    begun = averaging.begin(make_update(trainer, fresh=NEW, replayed=OLD))
    trainer.train(begun.fresh, epochs=4, seed=1)
    after = trainer.weights()
    metrics = averaging.end(begun)
    held_old = tuple(sample for sample in OLD if sample not in begun.replayed)
    held_new = tuple(sample for sample in NEW if sample not in begun.fresh)
    assert len(held_old) == len(held_new) == 4
    chosen = trainer.weights()
    losses = {}
    for alpha in GRID:
        put_weights(trainer.model, mixed(before, new=after, alpha=alpha))
        losses[alpha] = weight * loss(trainer, held_old) + (1 - weight) * loss(trainer, held_new)
    best = min(losses, key=losses.__getitem__)
    assert metrics["model/averaging_alpha"] == best
    assert metrics["model/averaging_loss"] == pytest.approx(losses[best])
    expected = mixed(before, new=after, alpha=best)
    assert all(torch.equal(chosen[name], expected[name]) for name in expected)
    if weight in (0.0, 1.0):
        assert best == 1.0 - weight


def test_what_is_held_is_never_trained_on_however_often_it_was_drawn() -> None:
    averaging = WeightAveraging()
    begun = averaging.begin(make_update(make_trainer(), fresh=NEW, replayed=OLD * 3))
    assert len(begun.replayed) == 3 * 16 and len(set(begun.replayed)) == 16


def test_without_a_past_to_choose_by_the_new_weights_stay() -> None:
    trainer, averaging = make_trainer(), WeightAveraging()
    for update in (
        make_update(trainer, number=0, replayed=OLD),
        make_update(trainer, replayed=()),
    ):
        assert averaging.begin(update) is update
        assert averaging.end(update) == {}


def test_nothing_is_kept_between_updates() -> None:
    trainer, averaging = make_trainer(), WeightAveraging()
    learn(averaging, make_update(trainer, replayed=OLD))
    assert averaging.num_bytes == 0


@pytest.mark.parametrize(
    ("params", "lesson"),
    [
        ({"alphas": []}, "alphas must be one or more"),
        ({"alphas": [0.5, 1.5]}, "alphas must be one or more"),
        ({"held_share": 1.0}, r"held_share must be in \(0, 1\), got 1.0"),
        ({"replayed_weight": -0.1}, "replayed_weight must be in"),
    ],
)
def test_it_refuses_what_makes_no_sense(params: dict[str, Any], lesson: str) -> None:
    with pytest.raises(ValueError, match=lesson):
        WeightAveraging(**params)
