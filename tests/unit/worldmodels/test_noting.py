"""What a buffer hears of a model: which way an episode pulls it, and what it predicts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dyna.config import GateConfig, WorldModelLearnerConfig
from dyna.protocols import HasGradients, HasTargets
from dyna.replay import DarkExperienceBuffer, GradientBuffer
from tests.unit.worldmodels.corridor_text import OPTIMIZER, episodes, make_renderer, make_trainer
from worldmodels.gradients import gradient_sketches
from worldmodels.learner import LLMWorldModelLearner
from worldmodels.targets import soft_targets, with_targets

RENDERER = make_renderer()
CONFIG = WorldModelLearnerConfig(
    optimizer=OPTIMIZER, epochs=1.0, replay_ratio=0.5, gate=GateConfig(enabled=False)
)


def test_angles_between_sketches_are_about_those_between_gradients() -> None:
    trainer = make_trainer(RENDERER)
    walks = [*episodes(3), *episodes(3, world_seed=1, num_doors=2, name="o")]
    sketches = gradient_sketches(trainer.model, RENDERER, walks, size=4096, use_hidden_state=True)
    exact: list[torch.Tensor] = []
    for walk in walks:
        sample = RENDERER.model_sample(walk, use_hidden_state=True)
        assert sample is not None
        trainer.forward_backward([sample])
        found = [p.grad for p in trainer.model.parameters() if p.grad is not None]
        exact.append(torch.cat([gradient.reshape(-1) for gradient in found]))
        trainer.model.zero_grad()
    for i, one in enumerate(walks):
        for j, other in enumerate(walks):
            true = torch.cosine_similarity(exact[i], exact[j], dim=0)
            seen = torch.cosine_similarity(
                torch.tensor(sketches[one.id]), torch.tensor(sketches[other.id]), dim=0
            )
            # The error of a sketch has a deviation of about 1 / sqrt(4096); this is six of them.
            assert abs(float(true - seen)) < 0.1


def test_sketching_leaves_the_trainer_as_it_was() -> None:
    plain, asked = make_trainer(RENDERER), make_trainer(RENDERER)
    walks = episodes(4)
    samples = [RENDERER.model_sample(t, use_hidden_state=True) for t in walks]
    batch = [sample for sample in samples if sample is not None]
    for _ in range(2):
        for trainer in (plain, asked):
            trainer.train(batch, epochs=2.0, seed=3)
        gradient_sketches(asked.model, RENDERER, walks, size=64, use_hidden_state=True)
        assert all(p.grad is None for p in asked.model.parameters())
    assert all(torch.equal(plain.weights()[n], w) for n, w in asked.weights().items())


def test_what_is_predicted_is_the_models_own_distribution() -> None:
    trainer = make_trainer(RENDERER)
    (walk,) = episodes(1)
    sample = RENDERER.model_sample(walk, use_hidden_state=True)
    assert sample is not None
    found = soft_targets(trainer.model, RENDERER, [walk], top_k=3, use_hidden_state=True)[walk.id]
    with torch.no_grad():
        logits = trainer.model(input_ids=torch.tensor([sample.token_ids])).logits[0]
    places = [place for place, weight in enumerate(sample.ce) if weight]
    best = torch.log_softmax(logits, dim=-1)[[place - 1 for place in places]].topk(3, dim=1)
    assert list(found.token_ids) == best.indices.flatten().tolist()
    assert found.log_probs == pytest.approx(best.values.flatten().tolist(), abs=1e-4)


def test_a_buffer_that_asks_hears_of_gradients_and_predictions() -> None:
    walks = episodes(6)
    gradients = GradientBuffer(max_transitions=1000)
    dark = DarkExperienceBuffer(max_transitions=1000, top_k=2)
    assert isinstance(gradients, HasGradients) and isinstance(dark, HasTargets)
    for replay in (gradients, dark):
        learner = LLMWorldModelLearner(make_trainer(RENDERER), RENDERER, CONFIG)
        for walk in walks:
            replay.add(walk)
        learner.update(walks, replay)
    assert set(gradients.likeness()) == {t.id for t in walks}
    assert all(dark.targets(t.id) is not None for t in walks)


def test_replayed_episodes_are_drawn_to_what_was_predicted_when_they_were_new() -> None:
    learner = LLMWorldModelLearner(make_trainer(RENDERER), RENDERER, CONFIG)
    replay = DarkExperienceBuffer(max_transitions=1000, top_k=2, alpha=0.3, beta=0.5)
    old = episodes(6, name="old")
    for walk in old:
        replay.add(walk)
    learner.update(old, replay)
    sample = RENDERER.model_sample(old[0], use_hidden_state=True)
    assert sample is not None
    rehearsed = with_targets(sample, id=old[0].id, replay=replay)
    assert [w != 0 for w in rehearsed.soft] == [w != 0 for w in sample.ce]
    assert set(rehearsed.soft) == {0.0, 0.3} and set(rehearsed.ce) == {0.0, 0.5}
    assert rehearsed.soft_targets == replay.targets(old[0].id)
    trainer = make_trainer(RENDERER)
    assert trainer.forward_backward([rehearsed])["loss_soft"] > 0.0
    unknown = with_targets(sample, id="unknown", replay=replay)
    assert unknown == replace(sample, ce=rehearsed.ce)
    assert learner.update(episodes(6, name="new"), replay)["model/replayed_turns"] > 0
