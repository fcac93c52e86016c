"""The world model of messages against a server on loopback."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.scripted import ReplayPolicy
from dyna.engines.openai import ServerError
from dyna.grammar import write_answer
from dyna.imagination import Dream, dream_envs
from dyna.protocols import Stateful, WorldModelLearner
from dyna.replay import FifoBuffer
from dyna.rollout import EpisodeSpec, Limits, gather_groups, rollout
from dyna.testing import check_world_model, check_world_model_learner, sample_trajectories
from dyna.types import Action, Context, Outcome, Source, StopReason, Trajectory
from tests.unit.dyna.engines.loopback_server import Loopback, Reaction, serving
from worldmodels.chat import ChatWorldModel, ChatWorldModelLearner

EPISODES = sample_trajectories()


@pytest.fixture
def server() -> Generator[Loopback]:
    with serving(Loopback(say=lambda body: "A door. [reward 0]")) as loopback:
        yield loopback


def predict(model: ChatWorldModel, *, turn: int = 1) -> Outcome:
    episode = EPISODES[0]
    return asyncio.run(model.predict(episode.context(turn), episode.turns[turn].action))


def filled_buffer() -> FifoBuffer:
    buffer = FifoBuffer(max_transitions=1000, max_bytes=2**20, seed=0)
    for episode in EPISODES:
        buffer.add(episode)
    return buffer


def test_it_satisfies_the_contracts(server: Loopback) -> None:
    model = ChatWorldModel(server.settings, num_examples=2)
    check_world_model(model)
    learner = ChatWorldModelLearner(model)
    assert isinstance(learner, WorldModelLearner) and isinstance(learner, Stateful)
    check_world_model_learner(learner, replay=filled_buffer())


def test_it_tells_the_grammar_and_the_transcript_with_the_roles_swapped(server: Loopback) -> None:
    model = ChatWorldModel(server.settings)
    outcome = predict(model)
    assert outcome == Outcome(observation="A door.")
    messages = server.calls[0]["messages"]
    first, asked = EPISODES[0].turns[:2]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert "[reward R; done; success]" in messages[0]["content"]
    assert EPISODES[0].start.observation in messages[0]["content"]
    assert messages[1]["content"] == first.action.command
    assert messages[2]["content"] == write_answer(first.outcome)
    assert messages[3]["content"] == asked.action.command
    assert server.calls[0]["temperature"] == 0.0


def test_the_hidden_state_is_told_only_where_it_may_be(server: Loopback) -> None:
    start = replace(EPISODES[0].start, hidden_state="The mug is in the drawer.")
    context = replace(EPISODES[0].context(0), start=start)
    for use, told in ((True, True), (False, False)):
        model = ChatWorldModel(server.settings, use_hidden_state=use)
        asyncio.run(model.predict(context, Action(command="look")))
        assert ("in the drawer" in server.calls[-1]["messages"][0]["content"]) is told


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (
            "You won. [reward 1; done; success]",
            Outcome(
                observation="You won.",
                reward=1.0,
                terminated=True,
                success=True,
                stop=StopReason.TERMINATED,
            ),
        ),
        (
            "I cannot help with that.",
            Outcome(
                observation="I cannot help with that.",
                stop=StopReason.UNPARSEABLE,
                confidence=0.0,
            ),
        ),
        ("", Outcome(observation="", stop=StopReason.UNPARSEABLE, confidence=0.0)),
    ],
)
def test_its_text_is_read_by_the_grammar(server: Loopback, said: str, expected: Outcome) -> None:
    server.say = lambda body: said
    assert predict(ChatWorldModel(server.settings)) == expected


def test_an_answer_that_was_cut_is_no_prediction(server: Loopback) -> None:
    body = (
        '{"choices": [{"finish_reason": "length", "message": {"content": "A door. [reward 0]"}}]}'
    )
    server.script = [Reaction(body=body)]
    assert predict(ChatWorldModel(server.settings)).stop is StopReason.UNPARSEABLE


def test_its_confidence_is_that_of_the_least_likely_token_where_the_server_tells(
    server: Loopback,
) -> None:
    model = ChatWorldModel(server.settings, ask_log_probs=True)
    assert predict(model).confidence == pytest.approx(math.exp(-0.5))
    server.log_probs = False
    with pytest.raises(ServerError, match="no log-probs"):
        predict(model)


def test_examples_are_real_turns_of_every_kind_and_the_same_for_all(server: Loopback) -> None:
    model = ChatWorldModel(server.settings, num_examples=4)
    learner = ChatWorldModelLearner(model, seed=5)
    predict(model)
    metrics = learner.update(EPISODES, filled_buffer())
    assert metrics == {"model/examples": 4.0, "model/version": 1.0}
    predict(model)
    predict(model, turn=0)
    systems = [call["messages"][0]["content"] for call in server.calls]
    assert systems[0].count("Example of real answers.") == 0
    assert systems[1].count("Example of real answers.") == 4
    assert systems[1] == systems[2]
    # The corridor was walked to its end once, and some commands made no sense.
    assert "; done; success]" in systems[1].split("Example of real answers.", 1)[1]
    assert "xyzzy" in systems[1] or "look" in systems[1]


def test_the_same_seed_and_buffer_give_the_same_examples(server: Loopback) -> None:
    def examples(seed: int) -> dict[str, Any]:
        model = ChatWorldModel(server.settings, num_examples=3)
        ChatWorldModelLearner(model, seed=seed).update(EPISODES, filled_buffer())
        return model.weights()

    assert examples(1) == examples(1)


def test_examples_are_saved_restored_and_sent(server: Loopback, tmp_path: Path) -> None:
    learner = ChatWorldModelLearner(ChatWorldModel(server.settings, num_examples=3))
    learner.update(EPISODES, filled_buffer())
    learner.save(str(tmp_path / "model"))
    other = ChatWorldModelLearner(ChatWorldModel(server.settings, num_examples=3))
    other.load(str(tmp_path / "model"))
    assert other.model.weights() == learner.model.weights()
    assert other.model.version == learner.model.version == 1
    third = ChatWorldModel(server.settings, num_examples=3)
    third.load_weights(learner.model.weights(), version=7)
    assert third.version == 7 and third.weights() == learner.model.weights()


def test_zero_shot_learns_nothing(server: Loopback) -> None:
    learner = ChatWorldModelLearner(ChatWorldModel(server.settings))
    assert learner.update(EPISODES, filled_buffer())["model/version"] == 0.0


def dream(model: ChatWorldModel, *, num: int = 2) -> list[Trajectory]:
    episode = EPISODES[0]
    dreams = [
        Dream(
            spec=EpisodeSpec(task=episode.task, episode_id=str(index), group_id=f"g{index // 2}"),
            start=episode.start,
        )
        for index in range(num)
    ]
    return asyncio.run(
        rollout(
            [entry.spec for entry in dreams],
            policy=ReplayPolicy(["go left", "go right"]),
            make_env=dream_envs(dreams, model=model),
            limits=Limits(max_turns=2),
            source=Source.IMAGINED,
            max_concurrent=1,
        )
    )


def test_a_dream_without_an_answer_has_failed_and_takes_its_group_along(server: Loopback) -> None:
    server.script = [Reaction(status=500)]
    failed, *others = dream(ChatWorldModel(server.settings | {"max_retries": 0}), num=4)
    assert failed.stop is StopReason.ENV_TIMEOUT and "status 500" in failed.error
    assert [t.stop for t in others] == [StopReason.HORIZON] * 3
    assert len(gather_groups([failed, *others])) == 1


def test_a_server_that_is_gone_ends_the_run(server: Loopback) -> None:
    server.script = [Reaction(status=500)] * 40
    model = ChatWorldModel(server.settings | {"max_retries": 0})
    with pytest.raises(Exception, match="status 500"):
        dream(model, num=20)
    assert len(server.calls) == 10


def test_a_call_that_no_waiting_helps_ends_the_run_at_once(server: Loopback) -> None:
    server.script = [Reaction(status=400)]
    with pytest.raises(ServerError, match="status 400"):
        predict(ChatWorldModel(server.settings))


def test_a_transcript_that_is_too_long_fills_the_context(server: Loopback) -> None:
    server.script = [Reaction(status=400, body='{"error": {"message": "maximum context length"}}')]
    assert predict(ChatWorldModel(server.settings)).stop is StopReason.CONTEXT_FULL


def test_contexts_beyond_the_view_are_not_told(server: Loopback) -> None:
    model = ChatWorldModel(server.settings)
    context: Context = EPISODES[0].context(0)
    asyncio.run(model.predict(context, Action(command="look")))
    assert len(server.calls[0]["messages"]) == 2
