"""The policy of messages against a server on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from agents.chat import ChatPolicy
from agents.parsers import parse_react
from dyna.config import ActionMode
from dyna.configuring import ConfigError
from dyna.envs.corridor import CorridorWorld
from dyna.protocols import Policy
from dyna.rollout import BrokenPolicyError, EpisodeSpec, Limits, check_policies, rollout
from dyna.spending import METER, SpendLimitError
from dyna.testing import check_policy
from dyna.types import Source, StopReason, Trajectory
from tests.unit.dyna.engines.loopback_server import Loopback, Reaction, serving

WORLD = CorridorWorld(num_doors=2, max_turns=4)


@pytest.fixture
def server() -> Generator[Loopback]:
    with serving(Loopback(say=guide)) as loopback:
        yield loopback


def guide(body: dict[str, Any]) -> str:
    """The way through the corridor, by the number of messages."""
    return WORLD.way[(len(body["messages"]) - 2) // 2 % len(WORLD.way)]


def play(policy: Policy, *, num: int = 2, max_concurrent: int = 1) -> list[Trajectory]:
    tasks = WORLD.tasks(split="train", num=num)
    specs = [EpisodeSpec(task=task, episode_id=task.id, seed=3) for task in tasks]
    return asyncio.run(
        rollout(
            specs,
            policy=policy,
            make_env=lambda _: WORLD.make(),
            limits=Limits(max_turns=4),
            source=Source.REAL,
            max_concurrent=max_concurrent,
        )
    )


def test_it_is_a_policy(server: Loopback) -> None:
    check_policy(ChatPolicy(server.settings))


def test_it_plays_an_episode_by_messages(server: Loopback) -> None:
    won, _ = play(ChatPolicy(server.settings, temperature=0.5))
    assert won.success
    assert all(not turn.action.token_ids for turn in won.turns)
    last = server.calls[len(won.turns) - 1]
    roles = [message["role"] for message in last["messages"]]
    assert roles == ["system", "user", *["assistant", "user"] * (len(won.turns) - 1)]
    assert last["messages"][1]["content"] == won.start.observation
    assert last["messages"][2]["content"] == WORLD.way[0]
    assert last["temperature"] == 0.5 and last["max_tokens"] == 256


def test_a_parser_brings_its_instructions_and_thoughts_stay_with_the_action(
    server: Loopback,
) -> None:
    server.say = lambda body: f"Thought: on.\nAction: {guide(body)}"
    won, _ = play(ChatPolicy(server.settings, parser=parse_react))
    assert won.success
    assert won.turns[0].action.command == WORLD.way[0]
    assert won.turns[0].action.text == f"Thought: on.\nAction: {WORLD.way[0]}"
    assert "`Action:`" in server.calls[0]["messages"][0]["content"]
    assert server.calls[1]["messages"][2]["content"].startswith("Thought: on.")


def test_a_parser_of_the_users_own_needs_a_prompt_to_go_with_it(server: Loopback) -> None:
    with pytest.raises(ConfigError, match="system_prompt"):
        ChatPolicy(server.settings, parser=str.upper)
    policy = ChatPolicy(server.settings, parser=str.strip, system_prompt="Say a command.")
    play(policy, num=1)
    assert server.calls[0]["messages"][0] == {"role": "system", "content": "Say a command."}


def test_listed_commands_are_shown_once_and_spelled_as_listed(server: Loopback) -> None:
    server.say = lambda body: f" {guide(body).upper()} "
    won, _ = play(ChatPolicy(server.settings, actions=ActionMode.ADMISSIBLE))
    assert won.success and won.turns[0].action.command == WORLD.way[0]
    shown = ["Possible commands:" in m["content"] for m in server.calls[1]["messages"]]
    assert shown == [False, False, False, True]


def test_a_call_that_fails_for_good_is_one_failed_episode(server: Loopback) -> None:
    server.script = [Reaction(status=500)] * 2
    failed, won = play(ChatPolicy(server.settings | {"max_retries": 1}))
    assert failed.stop is StopReason.POLICY_ERROR and "status 500" in failed.error
    assert failed.total_reward == 0.0 and won.success


def test_a_server_that_always_fails_is_a_broken_policy(server: Loopback) -> None:
    server.script = [Reaction(status=500)] * 10
    played = play(ChatPolicy(server.settings | {"max_retries": 0}))
    with pytest.raises(BrokenPolicyError, match="status 500"):
        check_policies(played)


def test_a_transcript_that_is_too_long_ends_the_episode(server: Loopback) -> None:
    body = '{"error": {"message": "maximum context length", "code": "context_length_exceeded"}}'
    server.script = [Reaction(status=400, body=body)]
    assert play(ChatPolicy(server.settings), num=1)[0].stop is StopReason.CONTEXT_FULL


def test_spending_too_much_ends_the_run_and_no_episode_is_made_of_it(server: Loopback) -> None:
    policy = ChatPolicy(server.settings | {"prompt_price": 1000.0}, max_new_tokens=16)
    METER.open(limit=0.25)
    try:
        with pytest.raises(SpendLimitError, match="max_spend"):
            play(policy, num=4, max_concurrent=2)
        assert METER.take().cost <= 0.25
    finally:
        METER.open(limit=0.0)
