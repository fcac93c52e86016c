"""Learners that share a step take the step that one would take alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.tensor import DTensor

from dyna.config import OptimizerConfig, RunConfig, Sharding
from dyna.rllib import DynaConfig
from dyna.rllib.learner import trainer_arguments
from dyna.rllib.trainer import RLlibTrainer
from dyna.seeding import generator
from dyna.training.models import load_model
from dyna.training.penalties import Quadratic
from dyna.training.trainer import TokenTrainer
from dyna.training.weights import trainable
from dyna.types import SoftTargets, TrainingSample
from tests.cluster.tiny_build import tiny_config

pytestmark = pytest.mark.ray

TOLERANCE = 1e-6


def make_samples(*, num: int = 7) -> list[TrainingSample]:
    """Of several lengths, some of each stream alone and some of all together."""
    rng = generator(0, "samples")
    samples: list[TrainingSample] = []
    for index in range(num):
        length = int(rng.integers(4, 14))
        ones = (0.0,) + (1.0,) * (length - 1)
        samples.append(
            TrainingSample(
                token_ids=tuple(rng.integers(4, 260, size=length).tolist()),
                ce=ones if index % 2 else (),
                rl=tuple(0.7 * value for value in ones) if index % 3 else (),
                rl_mask=ones if index % 3 else (),
                old_log_probs=tuple(-5.0 * value for value in ones) if index % 3 else (),
                ref_kl=tuple(0.1 * value for value in ones),
                soft=tuple(0.1 * value for value in ones) if index % 2 else (),
                soft_targets=SoftTargets(
                    top_k=2,
                    token_ids=(7, 9) * (length - 1),
                    log_probs=(-0.7, -1.4) * (length - 1),
                )
                if index % 2
                else None,
            )
        )
    return samples


def in_process(config: RunConfig) -> TokenTrainer:
    return TokenTrainer(load_model(config.policy.model), **trainer_arguments(config, role="policy"))


@pytest.fixture(
    scope="module",
    params=[(1, Sharding.NONE), (2, Sharding.NONE), (2, Sharding.FSDP)],
    ids=["one learner", "two learners", "two sharded learners"],
)
def shared(
    request: Any, local_ray: str, model_folder: str
) -> Iterator[tuple[RunConfig, RLlibTrainer]]:
    num_learners, sharding = request.param
    config = tiny_config(model_folder, num_learners=num_learners)
    config = replace(config, runtime=replace(config.runtime, sharding=sharding))
    group = DynaConfig().dyna(run_config=config).build_learner_group()
    trainer = RLlibTrainer(
        load_model(config.policy.model),
        group=group,
        role="policy",
        arguments=trainer_arguments(config, role="policy"),
    )
    yield config, trainer
    group.shutdown()


def gradients(learner: Any, *, samples: list[TrainingSample]) -> dict[str, torch.Tensor]:
    trainer = learner.trainers["policy"]
    trainer.model.zero_grad()
    trainer.forward_backward(samples)
    found = {
        name: p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad.clone()
        for name, p in trainer.model.named_parameters()
    }
    trainer.model.zero_grad()
    return found


def test_gradients_and_weights_are_those_of_one_process(
    shared: tuple[RunConfig, RLlibTrainer], tmp_path: Path
) -> None:
    config, trainer = shared
    own = in_process(config)
    for each in (own, trainer):
        each.freeze_reference()
    own.forward_backward(make_samples())
    expected = {name: p.grad for name, p in own.model.named_parameters()}
    own.model.zero_grad()
    for found in trainer._each(partial(gradients, samples=make_samples())):
        for name, gradient in expected.items():
            assert gradient is not None
            torch.testing.assert_close(found[name], gradient, atol=TOLERANCE, rtol=1e-4)

    steps: list[tuple[int, int]] = []
    metrics = own.train(make_samples(), epochs=6, seed=4)
    assert metrics == pytest.approx(
        trainer.train(
            make_samples(), epochs=6, seed=4, on_step=lambda done, all: steps.append((done, all))
        ),
        abs=1e-5,
    )
    assert trainer.version == own.version == 1
    assert steps and steps[0][0] == steps[0][1] == metrics["optimizer_steps"]
    for name, weight in own.weights().items():
        torch.testing.assert_close(trainer.weights()[name], weight, atol=1e-5, rtol=1e-4)

    trainer.save(str(tmp_path))
    is_sharded = config.runtime.sharding is Sharding.FSDP
    assert len(list(tmp_path.glob("optimizer*.safetensors"))) == (2 if is_sharded else 1)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    again = in_process(config)
    again.load(str(tmp_path))
    assert again.version == 1 and again.has_reference
    for name, weight in trainer.weights().items():
        assert torch.equal(again.weights()[name], weight)
    trainer.load(str(tmp_path))
    assert trainer.train(make_samples(), epochs=1, seed=5) == pytest.approx(
        again.train(make_samples(), epochs=1, seed=5), abs=1e-5
    )


def test_penalties_pull_in_the_learners_as_in_one_process(
    shared: tuple[RunConfig, RLlibTrainer],
) -> None:
    config, trainer = shared
    own = in_process(config)
    trainer.load_weights(own.weights())
    for each in (own, trainer):
        each.freeze_reference()
    anchor = {name: weight.detach() + 0.1 for name, weight in trainable(own.model).items()}
    pull = Quadratic(strength=3.0, anchor=anchor)
    metrics = own.train(make_samples(), epochs=2, seed=4, penalties=[pull])
    found = trainer.train(make_samples(), epochs=2, seed=4, penalties=[pull])
    assert metrics == pytest.approx(found, abs=1e-4, rel=1e-4)
    for name, weight in own.weights().items():
        torch.testing.assert_close(trainer.weights()[name], weight, atol=1e-5, rtol=1e-4)
    trainer.drop_reference()
    assert not trainer.has_reference


def test_a_loss_that_is_not_finite_is_raised_and_the_learners_live_on(
    shared: tuple[RunConfig, RLlibTrainer],
) -> None:
    _, trainer = shared
    trainer.freeze_reference()
    samples = make_samples(num=4)
    old = tuple(-1e30 if value else 0.0 for value in samples[1].old_log_probs)
    broken = replace(samples[1], old_log_probs=old, rl=tuple(-value for value in samples[1].rl))
    version = trainer.version
    with pytest.raises(FloatingPointError, match=r"finite|loss"):
        trainer.train([*samples, broken], epochs=1, seed=0)
    assert trainer.version == version
    trainer.train(samples, epochs=1, seed=0)
    assert trainer.version == version + 1


def test_with_nothing_to_learn_nothing_changes(shared: tuple[RunConfig, RLlibTrainer]) -> None:
    _, trainer = shared
    version = trainer.version
    assert trainer.train([], epochs=1, seed=0) == {"optimizer_steps": 0.0}
    assert trainer.version == version


def own_scores(trainer: RLlibTrainer) -> list[tuple[float, ...]]:
    """By the driver's replica."""
    return TokenTrainer(trainer.model, optimizer=OptimizerConfig()).log_probs(make_samples())


def test_weights_that_are_put_back_reach_every_learner(
    shared: tuple[RunConfig, RLlibTrainer],
) -> None:
    _, trainer = shared
    before = trainer.weights()
    trainer.train(make_samples(), epochs=1, seed=2)
    trainer.load_weights(before)
    scores = trainer.log_probs(make_samples())
    assert scores == [pytest.approx(values, abs=1e-5) for values in own_scores(trainer)]
    answers = trainer._each(lambda learner: learner.trainers["policy"].weights())
    assert answers[0]
    for held in filter(None, answers):
        assert all(torch.equal(held[name], weight) for name, weight in before.items())
