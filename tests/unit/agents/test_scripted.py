"""Scripted policies do as they are told, by the context's own seed."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from agents.scripted import ExpertPolicy, NoisyExpertPolicy, RandomPolicy, ReplayPolicy
from dyna.protocols import Policy
from dyna.types import Context, Start, Task

TASK = Task(id="t/0", world="t", family="t", split="train")
LISTED = ("look", "take mug 1 from shelf 1", "open safe 1")


def context(
    *, seed: int = 0, admissible: tuple[str, ...] | None = LISTED, length: int = 0
) -> Context:
    start = Start(observation="Start.", admissible=admissible)
    return Context(task=TASK, start=start, turns=(), length=length, seed=seed)


def say(policy: Policy, *, context: Context) -> str:
    return asyncio.run(policy.act(context)).command


def test_random_takes_each_admissible_command_alike() -> None:
    counts = Counter(say(RandomPolicy(), context=context(seed=seed)) for seed in range(300))
    assert set(counts) == set(LISTED)
    assert min(counts.values()) > 60
    assert say(RandomPolicy(), context=context(seed=7)) == say(
        RandomPolicy(), context=context(seed=7)
    )


@pytest.mark.parametrize("admissible", [None, ()])
def test_random_needs_a_world_that_lists_its_commands(admissible: tuple[str, ...] | None) -> None:
    with pytest.raises(ValueError, match="lists no admissible commands at turn 0"):
        say(RandomPolicy(), context=context(admissible=admissible))


def test_the_expert_sees_the_context() -> None:
    policy = ExpertPolicy(lambda context: context.last_observation.lower())
    assert say(policy, context=context()) == "start."


def test_the_noisy_expert_errs_in_the_shares_it_was_told() -> None:
    policy = NoisyExpertPolicy(lambda _: "expert", noise=0.3, invalid=0.2)
    said = [say(policy, context=context(seed=seed)) for seed in range(400)]
    assert 0.42 < said.count("expert") / 400 < 0.58
    assert any(command not in (*LISTED, "expert") for command in said)
    quiet = NoisyExpertPolicy(lambda _: "expert", noise=0.0, invalid=0.0)
    assert {say(quiet, context=context(seed=seed)) for seed in range(20)} == {"expert"}
    with pytest.raises(ValueError, match=r"noise \+ invalid"):
        NoisyExpertPolicy(lambda _: "expert", noise=0.7, invalid=0.7)


def test_a_recording_is_replayed_to_its_end() -> None:
    policy = ReplayPolicy(["look", "open safe 1"])
    assert [say(policy, context=context(length=n)) for n in (0, 1)] == ["look", "open safe 1"]
    with pytest.raises(ValueError, match="has 2 commands, turn 2"):
        say(policy, context=context(length=2))


@pytest.mark.parametrize(
    "policy",
    [RandomPolicy(), ExpertPolicy(lambda _: ""), NoisyExpertPolicy(lambda _: ""), ReplayPolicy([])],
)
def test_they_are_policies(policy: Policy) -> None:
    assert isinstance(policy, Policy)
