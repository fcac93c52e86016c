"""The policy learner clones, practices, remembers what it was shown, and resumes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from agents.algorithms.filtered_bc import FilteredBC
from agents.algorithms.grpo import GRPO
from agents.learner import LLMPolicyLearner
from agents.llm import LLMPolicy
from dyna.config import OptimizerConfig, PolicyLearnerConfig
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Algorithm, PolicyLearner, Stateful
from dyna.rendering import Renderer
from dyna.testing import byte_tokenizer, tiny_model
from dyna.training.trainer import TokenTrainer
from dyna.types import (
    Action,
    Context,
    Outcome,
    Start,
    StopReason,
    Task,
    Trajectory,
    TrajectoryGroup,
    Turn,
)

TASK = Task(id="t/0", world="t", family="t", split="train")
TOKENIZER = byte_tokenizer()
RENDERER = Renderer(TOKENIZER, max_context=128)
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, tokens_per_batch=256, warmup_steps=2)
CONFIG = PolicyLearnerConfig(
    optimizer=OPTIMIZER, imitation_epochs=20, imitation_learning_rate=5e-3, ref_kl=0.05
)


def learner(
    *, config: PolicyLearnerConfig = CONFIG, algorithm: Algorithm | None = None, seed: int = 0
) -> LLMPolicyLearner:
    trainer = TokenTrainer(
        tiny_model(len(TOKENIZER), seed=seed),
        optimizer=config.optimizer,
        clip_low=config.clip_low,
        clip_high=config.clip_high,
    )
    return LLMPolicyLearner(
        trainer, renderer=RENDERER, algorithm=algorithm or GRPO(), config=config
    )


def demonstration(command: str, *, wins: bool = True, room: str = "A room.") -> Trajectory:
    end = Outcome(observation="ok", reward=float(wins), success=wins, terminated=wins, valid=True)
    return Trajectory(
        id=command,
        task=TASK,
        start=Start(observation=room),
        turns=(Turn(action=Action(command=command), outcome=end),),
        stop=StopReason.TERMINATED if wins else StopReason.STEP_LIMIT,
    )


def sampled_group(learner: LLMPolicyLearner, *, num: int, seed: int) -> TrajectoryGroup:
    """Play the learner's weights for one turn; saying the letter `a` first is a win."""
    model = tiny_model(len(TOKENIZER))
    model.load_state_dict(learner.trainer.weights())
    policy = LLMPolicy(TransformersEngine(model, max_context=128), RENDERER, max_new_tokens=2)

    async def play() -> list[Action]:
        contexts = [
            Context(
                task=TASK,
                start=Start(observation="A room."),
                turns=(),
                length=0,
                episode_id=str(index),
                seed=1000 * seed + index,
            )
            for index in range(num)
        ]
        return list(await asyncio.gather(*(policy.act(context) for context in contexts)))

    trajectories = []
    for action in asyncio.run(play()):
        won = action.said.startswith("a")
        end = Outcome(observation="ok", reward=float(won), success=won, terminated=True)
        trajectories.append(
            Trajectory(
                id="e",
                task=TASK,
                start=Start(observation="A room."),
                turns=(Turn(action=action, outcome=end),),
                stop=StopReason.TERMINATED,
            )
        )
    return TrajectoryGroup(task=TASK, trajectories=tuple(trajectories))


def success(group: TrajectoryGroup) -> float:
    return sum(t.success for t in group.trajectories) / len(group.trajectories)


def test_it_satisfies_the_seams() -> None:
    assert isinstance(learner(), PolicyLearner)
    assert isinstance(learner(), Stateful)


def test_cloning_teaches_what_was_shown() -> None:
    pupil = learner(config=replace(CONFIG, imitation_epochs=400, imitation_learning_rate=1e-2))
    metrics = pupil.imitate([demonstration("ab"), demonstration("zz", wins=False)])
    assert metrics["policy/imitation_samples"] == 1.0
    assert metrics["policy/version"] == pupil.version == 1
    assert success(sampled_group(pupil, num=20, seed=1)) > 0.8


def test_practice_improves_on_a_start_that_is_only_half_right() -> None:
    config = PolicyLearnerConfig(
        optimizer=OPTIMIZER,
        imitation_epochs=40,
        imitation_learning_rate=5e-3,
        ref_kl=0.01,
        demonstration_weight=0.0,
    )
    pupil = learner(config=config)
    pupil.imitate([demonstration(command) for command in ("ab", "cd", "ef", "gh")])
    before = success(sampled_group(pupil, num=64, seed=0))
    assert 0.05 < before < 0.6
    for update in range(12):
        metrics = pupil.update([sampled_group(pupil, num=32, seed=update + 1)])
        if update == 0:
            assert metrics["policy/ratio_mean"] == pytest.approx(1.0, abs=0.05)
    assert success(sampled_group(pupil, num=64, seed=99)) > before + 0.3


def test_without_credit_nothing_changes() -> None:
    pupil = learner()
    pupil.imitate([demonstration("ab")])
    before = pupil.trainer.weights()
    metrics = pupil.update([TrajectoryGroup(task=TASK, trajectories=(demonstration("ab"),))])
    assert metrics["policy/samples"] == 0.0
    assert pupil.version == 1
    assert all(torch.equal(t, before[name]) for name, t in pupil.trainer.weights().items())


def test_samples_that_do_not_fit_are_counted() -> None:
    pupil = learner(algorithm=FilteredBC())
    long = demonstration("ab", room="x" * 200)
    short = demonstration("ab")
    metrics = pupil.update([TrajectoryGroup(task=TASK, trajectories=(long, short))])
    assert (metrics["policy/dropped_overlong"], metrics["policy/samples"]) == (1.0, 1.0)
    assert pupil.imitate([long])["policy/imitation_dropped_overlong"] == 1.0


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_demonstrations_are_mixed_in_unless_turned_off(weight: float) -> None:
    config = PolicyLearnerConfig(
        optimizer=OPTIMIZER, imitation_epochs=1, demonstration_weight=weight
    )
    pupil = learner(config=config)
    pupil.imitate([demonstration("ab"), demonstration("ac")])
    won, lost = (
        Trajectory(
            id="e",
            task=TASK,
            start=Start(observation="A room."),
            turns=(
                Turn(
                    action=Action(command="a", token_ids=(70, 3), log_probs=(-5.0, -5.0)),
                    outcome=Outcome(observation="ok", reward=reward, terminated=True),
                ),
            ),
            stop=StopReason.TERMINATED,
        )
        for reward in (1.0, 0.0)
    )
    metrics = pupil.update([TrajectoryGroup(task=TASK, trajectories=(won, lost))])
    assert metrics["policy/demonstrations"] == (1.0 if weight else 0.0)
    assert (metrics["policy/loss_ce"] > 0) == bool(weight)


def test_resume_equals_going_on_to_the_last_bit(tmp_path: Path) -> None:
    straight = learner()
    straight.imitate([demonstration("ab"), demonstration("cd")])
    groups = [sampled_group(straight, num=8, seed=seed) for seed in range(4)]
    straight.update(groups)
    straight.save(str(tmp_path))
    resumed = learner(seed=3)
    resumed.load(str(tmp_path))
    assert straight.update(groups) == resumed.update(groups)
    expected = straight.trainer.weights()
    assert all(torch.equal(t, expected[name]) for name, t in resumed.trainer.weights().items())


def of_skill(command: str, *, family: str) -> Trajectory:
    return replace(demonstration(command), task=replace(TASK, family=family, id=command))


def test_demonstrations_are_drawn_evenly_over_skills() -> None:
    """Of 24 shown of one skill and 4 of the other, an update of 32 gets 4 and 4."""
    pupil = learner(config=replace(CONFIG, imitation_epochs=1))
    many = [of_skill(f"{k:02}", family="many") for k in range(24)]
    few = [of_skill(f"few {k}", family="few") for k in range(4)]
    pupil.imitate([*many, *few])
    drawn = pupil._demonstrations.draw(32, seed=0, update=0)  # pyright: ignore[reportPrivateUsage]
    known = set(pupil._demonstrations.by_skill["t/few"])  # pyright: ignore[reportPrivateUsage]
    assert len(drawn) == len(set(drawn)) == 8
    assert sum(sample in known for sample in drawn) == 4


def test_the_policy_goes_back_to_what_was_kept_and_remembers_it(tmp_path: Path) -> None:
    pupil = learner(config=replace(CONFIG, imitation_epochs=2))
    with pytest.raises(ValueError, match="no weights were kept"):
        pupil.restore_weights()
    pupil.imitate([demonstration("ab")])
    kept = pupil.trainer.weights()
    pupil.keep_weights()
    pupil.imitate([demonstration("zz")])
    assert not torch.equal(pupil.trainer.weights()["lm_head.weight"], kept["lm_head.weight"])
    pupil.save(str(tmp_path))
    resumed = learner(seed=3)
    resumed.load(str(tmp_path))
    for one in (pupil, resumed):
        one.restore_weights()
        assert one.version == 3
        assert all(torch.equal(t, kept[name]) for name, t in one.trainer.weights().items())


def every_second_wins(group: TrajectoryGroup) -> TrajectoryGroup:
    """So that there is something to learn from it, whatever was said."""
    trajectories = [
        replace(t, turns=(replace(t.turns[0], outcome=replace(t.turns[0].outcome, reward=reward)),))
        for t, reward in zip(group.trajectories, [0.0, 1.0] * 4, strict=True)
    ]
    return replace(group, trajectories=tuple(trajectories))


def test_the_slow_copy_follows_and_survives_a_resume(tmp_path: Path) -> None:
    config = replace(CONFIG, imitation_epochs=2, slow_copy=0.5)
    straight = learner(config=config)
    straight.imitate([demonstration("ab"), demonstration("cd")])
    groups = [every_second_wins(sampled_group(straight, num=8, seed=seed)) for seed in range(4)]
    straight.update(groups)
    straight.save(str(tmp_path))
    resumed, frozen = (
        learner(config=replace(config, slow_copy=rate), seed=3) for rate in (0.5, 0.0)
    )
    resumed.load(str(tmp_path))
    frozen.load(str(tmp_path))
    # The copy moves after an update, so the second one from here on is the first to differ.
    for _ in range(2):
        expected, found, stays = (one.update(groups) for one in (straight, resumed, frozen))
        assert expected == found
    assert 0 < expected["policy/loss_ref_kl"] < stays["policy/loss_ref_kl"]


def test_a_damaged_save_is_named(tmp_path: Path) -> None:
    pupil = learner()
    with pytest.raises(ValueError, match=r"learner\.json' does not exist"):
        pupil.load(str(tmp_path))
    pupil.save(str(tmp_path))
    text = (tmp_path / "learner.json").read_text()
    (tmp_path / "learner.json").write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match="damaged"):
        pupil.load(str(tmp_path))
