"""Engine and learner apart: measured and weighed by hand; nothing is done where they agree."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from agents import mismatch
from agents.algorithms.filtered_bc import FilteredBC
from agents.algorithms.grpo import GRPO
from agents.learner import LLMPolicyLearner
from agents.llm import LLMPolicy
from dyna.config import OptimizerConfig, PolicyLearnerConfig
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Algorithm
from dyna.rendering import Renderer
from dyna.seeding import derive_seed
from dyna.testing import byte_tokenizer, tiny_model
from dyna.training.trainer import TokenTrainer
from dyna.types import (
    Action,
    Context,
    Outcome,
    Start,
    StopReason,
    Task,
    TrainingSample,
    Trajectory,
    TrajectoryGroup,
    Turn,
)

TASK = Task(id="t/0", world="t", family="t", split="train")
TOKENIZER = byte_tokenizer()
RENDERER = Renderer(TOKENIZER, max_context=128)
SAMPLE = TrainingSample(
    token_ids=(7, 8, 9, 10),
    rl=(0.0, 2.0, -1.0, 0.5),
    rl_mask=(0.0, 1.0, 1.0, 1.0),
    old_log_probs=(0.0, -1.0, -2.0, -3.0),
)
LEARNER = (0.0, -1.0 + math.log(1.5), -2.0 + math.log(0.25), -3.0 + math.log(8.0))


def test_the_gap_is_the_k3_estimate_over_marked_tokens() -> None:
    gap = mismatch.measure_gap([SAMPLE], learner=[LEARNER])
    ratios = (1.5, 0.25, 8.0)
    assert gap is not None and gap.num_tokens == 3
    assert gap.kl == pytest.approx(sum(r - 1 - math.log(r) for r in ratios) / 3)
    assert gap.largest == pytest.approx(math.log(8.0))
    unmarked = replace(SAMPLE, rl_mask=(0.0,) * 4)
    assert mismatch.measure_gap([unmarked], learner=[LEARNER]) is None


def test_the_gap_of_a_token_the_engine_called_impossible_is_a_finite_number() -> None:
    sample = replace(SAMPLE, old_log_probs=(0.0, -9999.0, -2.0, -3.0))
    gap = mismatch.measure_gap([sample], learner=[LEARNER])
    assert gap is not None and math.isfinite(gap.kl)


def test_credit_is_weighed_by_the_ratio_and_cut_at_max_importance() -> None:
    (weighed,), metrics = mismatch.weigh_by_importance(
        [SAMPLE], learner=[LEARNER], max_importance=2.0
    )
    assert weighed.rl == pytest.approx((0.0, 2.0 * 1.5, -1.0 * 0.25, 0.5 * 2.0))
    assert weighed.old_log_probs == pytest.approx(LEARNER)
    assert weighed.token_ids == SAMPLE.token_ids and weighed.rl_mask == SAMPLE.rl_mask
    assert metrics["importance_mean"] == pytest.approx((1.5 + 0.25 + 2.0) / 3)
    assert metrics["importance_cut"] == pytest.approx(1 / 3)


def test_where_both_agree_the_very_same_samples_are_trained_on() -> None:
    near = tuple(value + 5e-4 for value in SAMPLE.old_log_probs)
    samples, metrics = mismatch.correct(
        [SAMPLE], log_probs=lambda _: [near], max_importance=2.0, is_stale=False
    )
    assert samples == [SAMPLE]
    assert metrics["engine_gap_max"] == pytest.approx(5e-4)
    assert "importance_mean" not in metrics


def test_a_bounded_part_is_scored_unless_it_shows_a_gap_or_actions_are_stale() -> None:
    long = replace(
        SAMPLE,
        **{
            name: getattr(SAMPLE, name) * 64
            for name in ("token_ids", "rl", "rl_mask", "old_log_probs")
        },
    )
    samples = [long] * 100  # 25600 tokens
    asked: list[int] = []

    def agreeing(given: Sequence[TrainingSample]) -> list[tuple[float, ...]]:
        asked.append(len(given))
        return [sample.old_log_probs for sample in given]

    def differing(given: Sequence[TrainingSample]) -> list[tuple[float, ...]]:
        asked.append(len(given))
        return [tuple(value - 0.1 for value in sample.old_log_probs) for sample in given]

    def correct(log_probs: mismatch.LogProbs, *, is_stale: bool = False) -> list[TrainingSample]:
        return mismatch.correct(
            samples, log_probs=log_probs, max_importance=2.0, is_stale=is_stale
        )[0]

    assert correct(agreeing) == samples
    assert 1 <= asked[0] <= mismatch.PROBE_TOKENS // 256 + 1
    assert correct(agreeing, is_stale=True) == samples
    assert asked[1:] == [100]
    assert correct(differing)[99].rl[1] == pytest.approx(2.0 * math.exp(-0.1))
    assert len(asked) == 4 and asked[3] == 100


def make_learner(
    algorithm: Algorithm, *, seed: int = 0, max_importance: float = 2.0
) -> LLMPolicyLearner:
    config = PolicyLearnerConfig(
        optimizer=OptimizerConfig(learning_rate=1e-3, tokens_per_batch=4096, warmup_steps=0),
        max_importance=max_importance,
        demonstration_weight=0.0,
    )
    trainer = TokenTrainer(tiny_model(len(TOKENIZER), seed=seed), optimizer=config.optimizer)
    return LLMPolicyLearner(trainer, renderer=RENDERER, algorithm=algorithm, config=config)


def sampled_group(*, seed: int = 0, version: int = 0) -> TrajectoryGroup:
    """Four answers of the tiny model of that seed, the first two of them won."""
    model = tiny_model(len(TOKENIZER), seed=seed)
    engine = TransformersEngine(model, max_context=128, version=version)
    policy = LLMPolicy(engine, RENDERER, max_new_tokens=4, version=version)

    async def play() -> list[Action]:
        contexts = [
            Context(
                task=TASK,
                start=Start(observation="A room."),
                turns=(),
                length=0,
                episode_id=str(index),
                seed=index,
            )
            for index in range(4)
        ]
        return list(await asyncio.gather(*(policy.act(context) for context in contexts)))

    return TrajectoryGroup(
        task=TASK,
        trajectories=tuple(
            Trajectory(
                id=str(index),
                task=TASK,
                start=Start(observation="A room."),
                turns=(
                    Turn(
                        action=action,
                        outcome=Outcome(
                            observation="ok",
                            reward=float(index < 2),
                            success=index < 2,
                            terminated=True,
                        ),
                    ),
                ),
                stop=StopReason.TERMINATED,
                group_id="g",
            )
            for index, action in enumerate(asyncio.run(play()))
        ),
    )


def test_an_engine_with_the_learners_weights_shows_no_gap() -> None:
    metrics = make_learner(GRPO()).update([sampled_group()])
    assert 0.0 <= metrics["policy/engine_kl"] < 1e-8
    assert metrics["policy/engine_gap_max"] < 1e-4
    assert metrics["policy/staleness_mean"] == metrics["policy/staleness_max"] == 0.0
    assert "policy/importance_mean" not in metrics


def test_without_a_gap_training_is_that_of_the_samples_as_they_came() -> None:
    group = sampled_group()
    pupil, plain = make_learner(GRPO()), make_learner(GRPO())
    pupil.update([group])
    samples = [RENDERER.policy_sample(credit) for credit in GRPO()([group])]
    seed = derive_seed(0, "update", 0)
    plain.trainer.train([sample for sample in samples if sample], epochs=1, seed=seed)
    ours, theirs = pupil.trainer.weights(), plain.trainer.weights()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_an_engine_that_was_behind_is_found_out_and_its_credit_weighed() -> None:
    pupil = make_learner(GRPO(), seed=5)
    pupil.trainer.version = 3
    metrics = pupil.update([sampled_group(seed=0, version=1)])
    assert metrics["policy/staleness_mean"] == metrics["policy/staleness_max"] == 2.0
    assert metrics["policy/engine_kl"] > 1e-4
    assert 0.0 < metrics["policy/importance_mean"] <= 2.0
    # The ratio of the clipped objective starts at 1: it is taken against the learner itself.
    assert metrics["policy/ratio_mean"] == pytest.approx(1.0, abs=1e-5)


def test_the_first_step_follows_the_truncated_off_policy_gradient() -> None:
    """Against autograd on the definition: -A * min(stop_grad(p / mu), C) * p / stop_grad(p)."""
    group = sampled_group(seed=0)
    bound = 1.02
    pupil = make_learner(GRPO(), seed=5, max_importance=bound)
    model = tiny_model(len(TOKENIZER), seed=5)
    terms: list[torch.Tensor] = []
    for credit in GRPO()([group]):
        sample = RENDERER.policy_sample(credit)
        assert sample is not None
        logits = model(input_ids=torch.tensor([sample.token_ids])).logits[0]
        log_probs = torch.log_softmax(logits, dim=-1)
        for place, marked in enumerate(sample.rl_mask):
            if marked:
                now = log_probs[place - 1, sample.token_ids[place]]
                weight = (now.detach() - sample.old_log_probs[place]).exp().clamp(max=bound)
                terms.append(-sample.rl[place] * weight * (now - now.detach()).exp())
    torch.stack(terms).mean().backward()

    credits = GRPO()([group])
    samples, metrics = mismatch.correct(
        [sample for credit in credits if (sample := RENDERER.policy_sample(credit))],
        log_probs=pupil.trainer.log_probs,
        max_importance=bound,
        is_stale=False,
    )
    assert 0.0 < metrics["importance_cut"] < 1.0
    pupil.trainer.forward_backward(samples)
    ours = dict(pupil.trainer.model.named_parameters())
    for name, parameter in model.named_parameters():
        gradient = ours[name].grad
        if parameter.grad is not None:
            assert gradient is not None
            assert torch.allclose(gradient, parameter.grad, atol=1e-6), name


def test_cloning_reports_the_gap_and_trains_as_before() -> None:
    pupil = make_learner(FilteredBC(), seed=5)
    metrics = pupil.update([sampled_group(seed=0)])
    assert metrics["policy/engine_kl"] > 1e-4
    assert "policy/importance_mean" not in metrics


def test_actions_that_no_engine_sampled_have_no_gap() -> None:
    group = sampled_group()
    scripted = tuple(
        replace(t, turns=(Turn(action=Action(command="go"), outcome=t.turns[0].outcome),))
        for t in group.trajectories
    )
    metrics = make_learner(FilteredBC()).update([replace(group, trajectories=scripted)])
    assert metrics["policy/samples"] == 2.0
    assert "policy/engine_kl" not in metrics and "policy/staleness_max" not in metrics
