"""Learning without forgetting: what it is measured against, on what, and for how long."""

from __future__ import annotations

import pytest

from tests.unit.worldmodels.regularizers.counting import (
    counting,
    learn,
    loss,
    make_trainer,
    make_update,
)
from worldmodels.regularizers.lwf import LearningWithoutForgetting
from worldmodels.regularizers.memory import bytes_of

OLD = counting(step=1)


def test_its_kl_is_zero_where_nothing_has_moved_and_grows_when_it_does() -> None:
    trainer, lwf = make_trainer(), LearningWithoutForgetting(replayed_ce=False)
    begun = lwf.begin(make_update(trainer, replayed=OLD))
    assert trainer.forward_backward(begun.replayed)["loss_ref_kl"] == pytest.approx(0.0, abs=1e-6)
    trainer.train(begun.fresh, epochs=1, seed=0)
    assert trainer.forward_backward(begun.replayed)["loss_ref_kl"] > 0.01


def test_the_kl_stands_on_the_answers_of_replayed_samples_with_its_weight() -> None:
    begun = LearningWithoutForgetting(weight=0.7).begin(make_update(make_trainer(), replayed=OLD))
    assert all(
        s.ref_kl == (0.0,) + (0.7,) * 9 and s.ce == (0.0,) + (1.0,) * 9 for s in begun.replayed
    )
    assert not any(sample.ref_kl for sample in begun.fresh)


def test_the_cross_entropy_of_what_is_replayed_can_be_left_out() -> None:
    lwf = LearningWithoutForgetting(replayed_ce=False)
    begun = lwf.begin(make_update(make_trainer(), replayed=OLD))
    assert all(sample.ref_kl and not any(sample.ce) for sample in begun.replayed)


def test_without_replay_it_can_stand_on_what_is_fresh_as_in_the_paper() -> None:
    begun = LearningWithoutForgetting(on_fresh=True).begin(make_update(make_trainer()))
    assert all(any(sample.ref_kl) and any(sample.ce) for sample in begun.fresh)


def test_the_first_update_has_nothing_to_forget() -> None:
    trainer = make_trainer()
    update = make_update(trainer, number=0, replayed=OLD)
    assert LearningWithoutForgetting(on_fresh=True).begin(update) is update
    assert not trainer.has_reference


def test_the_reference_is_counted_and_let_go_at_the_end() -> None:
    trainer, lwf = make_trainer(), LearningWithoutForgetting()
    update = lwf.begin(make_update(trainer, replayed=OLD))
    assert lwf.num_bytes == bytes_of(trainer.model) and trainer.has_reference
    assert lwf.end(update)["model/lwf_samples"] == len(OLD)
    assert lwf.num_bytes == 0 and not trainer.has_reference


def test_it_forgets_less_than_the_new_samples_alone_make_it() -> None:
    losses = []
    for regularizer in (LearningWithoutForgetting(weight=2.0, replayed_ce=False), None):
        trainer = make_trainer()
        trainer.train(OLD, epochs=40, seed=0)
        update = make_update(trainer, fresh=counting(step=3), replayed=OLD)
        if regularizer is None:
            trainer.train(update.fresh, epochs=20, seed=1)
        else:
            learn(regularizer, update, epochs=20)
        losses.append(loss(trainer, OLD))
    assert losses[0] < 0.5 * losses[1]
