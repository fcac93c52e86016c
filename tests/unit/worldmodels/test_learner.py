"""The continual learner: what it may learn from, what it never does, and when it steps back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from dyna.config import GateConfig, WorldModelLearnerConfig
from dyna.protocols import WorldModelLearner
from dyna.replay import PrioritizedBuffer, ReservoirBuffer
from dyna.training.tensor_files import TensorFiles
from dyna.types import Source, StopReason, Trajectory
from tests.unit.worldmodels.corridor_text import OPTIMIZER, episodes, make_renderer, make_trainer
from worldmodels.candidates import WEIGHTS, Gate
from worldmodels.gate import GateVerdict
from worldmodels.learner import LLMWorldModelLearner
from worldmodels.scoring import score_turns

RENDERER = make_renderer()
GATE = GateConfig(holdout_fraction=0.3, min_turns=10, margin=0.02)
CONFIG = WorldModelLearnerConfig(
    optimizer=OPTIMIZER, first_epochs=6.0, epochs=1.0, replay_ratio=0.5, gate=GATE
)


def make_learner(
    config: WorldModelLearnerConfig = CONFIG, *, seed: int = 0
) -> LLMWorldModelLearner:
    return LLMWorldModelLearner(make_trainer(RENDERER), RENDERER, config, seed=seed)


def buffer(trajectories: Sequence[Trajectory] = ()) -> ReservoirBuffer:
    replay = ReservoirBuffer(max_transitions=10_000, max_bytes=2**22, seed=0)
    for trajectory in trajectories:
        replay.add(trajectory)
    return replay


class Recording:
    """A replay buffer that always gives the same episodes."""

    def __init__(self, trajectories: Sequence[Trajectory]) -> None:
        self.trajectories = list(trajectories)
        self.asked: list[int] = []

    def add(self, trajectory: Trajectory) -> None:
        self.trajectories.append(trajectory)

    def sample(self, num_turns: int) -> list[Trajectory]:
        self.asked.append(num_turns)
        return self.trajectories

    def __len__(self) -> int:
        return sum(len(t.turns) for t in self.trajectories)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_satisfies_the_seam() -> None:
    assert isinstance(make_learner(), WorldModelLearner)


@pytest.mark.parametrize("source", [Source.IMAGINED, Source.REHEARSED])
def test_it_never_learns_from_dreams(source: Source) -> None:
    learner = make_learner()
    before = learner.live_weights()
    dream = replace(episodes(1)[0], source=source)
    with pytest.raises(ValueError, match=f"is {source}"):
        learner.update([dream], buffer())
    assert equal(before, learner.live_weights()) and learner.version == 0


def test_it_refuses_dreams_that_hide_in_the_buffer() -> None:
    learner = make_learner()
    learner.update(episodes(4), buffer())
    hidden = Recording([replace(t, source=Source.IMAGINED) for t in episodes(3, name="old")])
    with pytest.raises(ValueError, match="keep dreams out"):
        learner.update(episodes(4, name="new"), hidden)


def test_rehearsed_dreams_are_learned_from_only_when_named() -> None:
    learner = LLMWorldModelLearner(make_trainer(RENDERER), RENDERER, CONFIG, rehearsed=True)
    rehearsed = [replace(t, source=Source.REHEARSED) for t in episodes(4)]
    assert learner.update(rehearsed, buffer())["model/updated"] == 1.0


def test_failed_and_empty_episodes_teach_nothing() -> None:
    learner = make_learner()
    before = learner.live_weights()
    failed = [replace(t, stop=StopReason.ENV_ERROR) for t in episodes(4)]
    metrics = learner.update([*failed, replace(episodes(1)[0], turns=())], buffer())
    assert metrics["model/updated"] == 0.0 and equal(before, learner.live_weights())


def test_what_is_held_out_follows_from_the_id_and_is_about_its_share() -> None:
    learner, again = make_learner(), make_learner()
    walks = episodes(400, max_turns=1)
    held_out = [t.id for t in walks if learner.is_held_out(t)]
    assert held_out == [t.id for t in reversed(walks) if again.is_held_out(t)][::-1]
    assert 0.2 < len(held_out) / len(walks) < 0.4


def test_held_out_episodes_are_never_trained_on_even_from_the_buffer() -> None:
    learner = make_learner()
    walks = episodes(12)
    only_held_out = [t for t in walks if learner.is_held_out(t)]
    assert only_held_out
    before = learner.live_weights()
    assert learner.update(only_held_out, buffer())["model/updated"] == 0.0
    assert equal(before, learner.live_weights())
    learner.update(walks, buffer())
    metrics = learner.update(episodes(4, name="new"), Recording(only_held_out))
    assert metrics["model/replayed_turns"] == 0.0


def test_replay_makes_up_its_share_of_the_turns() -> None:
    learner = make_learner()
    old, new = episodes(20, name="old"), episodes(8, name="new")
    assert learner.update(old, buffer(old))["model/replayed_turns"] == 0.0
    metrics = learner.update(new, buffer([*old, *new]))
    share = metrics["model/replayed_turns"] / (
        metrics["model/replayed_turns"] + metrics["model/fresh_turns"]
    )
    assert 0.4 < share < 0.65


def test_a_buffer_that_draws_by_surprise_hears_the_live_models_loss() -> None:
    learner = make_learner(replace(CONFIG, gate=replace(GATE, enabled=False)))
    old = episodes(6, name="old")
    replay = PrioritizedBuffer(max_transitions=10_000, max_bytes=2**22, alpha=1.0)
    for trajectory in old:
        replay.add(trajectory)
    learner.update(old, replay)
    samples = [RENDERER.model_sample(t, use_hidden_state=True) for t in old]
    for trajectory, sample in zip(old, samples, strict=True):
        assert sample is not None
        with torch.no_grad():
            logits = learner._trainer.model(torch.tensor([sample.token_ids])).logits[0]
        losses = torch.nn.functional.cross_entropy(
            logits[:-1], torch.tensor(sample.token_ids[1:]), reduction="none"
        )
        mask = torch.tensor(sample.ce[1:]) != 0
        score = replay._scores[replay._entries[trajectory.id].serial]
        assert score == pytest.approx(float(losses[mask].mean()), rel=1e-4)


def test_it_learns_the_world() -> None:
    learner = make_learner(replace(CONFIG, first_epochs=20.0))
    learner.update(episodes(40), buffer())
    unseen = episodes(10, name="unseen")
    scores = score_turns(learner._trainer.model, RENDERER, unseen, use_hidden_state=True)
    # Measured over 5 seeds: 0.73 to 0.95; an untrained model has 0.
    assert sum(s.exact for s in scores) / len(scores) > 0.6


def test_the_gate_refuses_a_model_that_forgot_and_the_live_one_stays() -> None:
    learner = make_learner(replace(CONFIG, first_epochs=20.0, replay_ratio=0.0, epochs=10.0))
    learner.update(episodes(40), buffer())
    live, version = learner.live_weights(), learner.version
    reversed_doors = _swapped(episodes(10, name="lies"))
    metrics = learner.update(reversed_doors, buffer())
    # Measured over 5 seeds: exact match falls by 0.25 to 0.48.
    assert metrics["model/gate_accepted"] == 0.0 and metrics["model/refused_updates"] == 1.0
    assert metrics["model/gate_em_candidate"] < metrics["model/gate_em_live"] - 0.02
    assert equal(live, learner.live_weights()) and learner.version == version


def test_a_refused_update_leaves_no_trace_but_the_count(tmp_path: Path) -> None:
    learner = make_learner(replace(CONFIG, first_epochs=20.0, replay_ratio=0.0, epochs=10.0))
    old = episodes(40)
    replay = PrioritizedBuffer(max_transitions=10_000, max_bytes=2**22, alpha=1.0)
    for trajectory in old:
        replay.add(trajectory)
    learner.update(old, replay)
    learner.gate.folder = tmp_path / "refused"
    learner.save(str(tmp_path / "before"))
    replay.save(str(tmp_path / "replay_before"))
    metrics = learner.update(_swapped(episodes(10, name="lies")), replay)
    assert metrics["model/gate_accepted"] == 0.0
    learner.save(str(tmp_path / "after"))
    replay.save(str(tmp_path / "replay_after"))
    for name in ("weights.safetensors", "optimizer.safetensors", "trainer.json"):
        before, after = (tmp_path / when / "trainer" / name for when in ("before", "after"))
        assert before.read_bytes() == after.read_bytes()
    assert (tmp_path / "replay_before" / "buffer.json").read_bytes() == (
        tmp_path / "replay_after" / "buffer.json"
    ).read_bytes()
    assert json.loads((tmp_path / "after" / "gate" / "gate.json").read_text())["num_refused"] == 1
    verdict = json.loads((tmp_path / "refused" / "update_000001" / "verdict.json").read_text())
    assert not verdict["accepted"] and verdict["experiences"][0]["p_worse"] < 0.05
    refused = TensorFiles(tmp_path / "refused" / "update_000001", "weights").read_all()
    live = learner.live_weights()
    assert refused.keys() <= live.keys()
    assert any(not torch.equal(refused[name], live[name]) for name in refused)


def test_of_refused_models_the_newest_are_kept_and_every_verdict(tmp_path: Path) -> None:
    gate = Gate(replace(GATE, keep_refused=2), seed=0)
    gate.folder = tmp_path
    model = make_trainer(RENDERER).model

    def kept(name: str) -> list[int]:
        return sorted(
            int(path.parent.name.removeprefix("update_")) for path in tmp_path.rglob(name)
        )

    for number in (1, 4, 7):
        gate.refuse(model, verdict=GateVerdict(), update=number)
    assert gate.num_refused == 3
    assert kept("verdict.json") == [1, 4, 7] and kept(WEIGHTS) == [4, 7]
    gate.refuse(model, verdict=GateVerdict(), update=4)  # after a way back: 7 never was
    assert kept("verdict.json") == [1, 4] and kept(WEIGHTS) == [4]


def test_what_keeps_happening_becomes_the_past() -> None:
    """A world that changed for good is refused at first, then learned."""
    config = replace(CONFIG, first_epochs=20.0, replay_ratio=0.0, epochs=10.0)
    learner = make_learner(config)
    learner.update(episodes(40), buffer())
    accepted = [
        learner.update(_swapped(episodes(40, name=f"new{day}")), buffer())["model/gate_accepted"]
        for day in range(3)
    ]
    assert accepted[0] == 0.0 and 1.0 in accepted


def test_the_verdict_is_told_for_each_experience() -> None:
    learner = make_learner()
    old = episodes(40)
    learner.update(old, buffer(old))
    metrics = learner.update(episodes(20, name="more"), buffer(old))
    assert metrics["model/gate/corridor/corridor/accepted"] == 1.0
    assert metrics["model/gate/corridor/corridor/turns"] == metrics["model/gate_turns"]
    assert 0.0 <= metrics["model/gate/corridor/corridor/p_worse"] <= 1.0
    assert metrics["model/held_out_bytes"] == learner.gate.num_bytes > 0


def test_fresh_turns_recheck_what_wins_on_old_ones() -> None:
    """A candidate that unlearned the fresh episodes' world passes on the others and is refused."""
    learner = make_learner(replace(CONFIG, first_epochs=20.0))
    held_out = [t for t in episodes(60, name="new") if learner.is_held_out(t)]
    old = score_turns(learner._trainer.model, RENDERER, held_out, use_hidden_state=True)
    good = [replace(score, exact=True) for score in old]
    bad = [replace(score, exact=False) for score in old]
    judge = partial(learner.gate.judge, questions=held_out, update=1)
    assert learner.gate.questions(held_out) == held_out
    assert not judge(good, new=bad).accepted and judge(good, new=bad).abstained
    assert judge(bad, new=good).accepted


def _swapped(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The same walks in a world that answers every command with the start."""
    return [
        replace(
            t,
            turns=tuple(
                replace(turn, outcome=replace(turn.outcome, observation=t.start.observation))
                for turn in t.turns
            ),
        )
        for t in trajectories
    ]


def test_the_gate_lets_a_better_model_live() -> None:
    learner = make_learner()
    old = episodes(40)
    first = learner.update(old, buffer(old))
    assert first["model/gate_abstained"] == 1.0 and learner.version == 1
    second = learner.update(episodes(20, name="more"), buffer(old))
    assert second["model/gate_accepted"] == 1.0 and second["model/gate_abstained"] == 0.0
    assert second["model/gate_turns"] >= 10 and learner.version == 2


def test_without_a_gate_nothing_is_held_out() -> None:
    learner = make_learner(replace(CONFIG, gate=replace(GATE, enabled=False)))
    walks = episodes(6)
    metrics = learner.update(walks, buffer())
    assert metrics["model/fresh_turns"] == sum(len(t.turns) for t in walks)
    assert metrics["model/held_out_episodes"] == 0.0


def test_frozen_after_first_never_learns_again() -> None:
    learner = make_learner(replace(CONFIG, frozen_after_first=True))
    assert learner.update(episodes(4), buffer())["model/updated"] == 1.0
    weights = learner.live_weights()
    assert learner.update(episodes(4, name="b"), buffer())["model/updated"] == 0.0
    assert equal(weights, learner.live_weights())


def test_a_saved_learner_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    old, new = episodes(10), episodes(6, name="new")
    straight, resumed = make_learner(), make_learner()
    straight.update(old, buffer(old))
    straight.save(str(tmp_path))
    resumed.load(str(tmp_path))
    replay, replay_again = buffer([*old, *new]), buffer([*old, *new])
    assert straight.update(new, replay) == resumed.update(new, replay_again)
    assert equal(straight.live_weights(), resumed.live_weights())
    assert straight.version == resumed.version


def test_a_damaged_save_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"learner\.json"):
        make_learner().load(str(tmp_path))
    make_learner().save(str(tmp_path))
    (tmp_path / "learner.json").write_text('{"version": 1')
    with pytest.raises(ValueError, match=r"learner\.json"):
        make_learner().load(str(tmp_path))


def test_ratios_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"replay_ratio must be in \[0, 1\), got 1"):
        make_learner(replace(CONFIG, replay_ratio=1.0))
