"""Invalid commands: of the world's shapes and the episode's words, and never one that is listed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.invalid import InvalidPolicy, earlier_command, invalid_command
from agents.scripted import NoisyExpertPolicy
from dyna.envs.corridor import CorridorWorld
from dyna.envs.household import HouseholdWorld
from dyna.protocols import Policy, World
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.testing import check_policy
from dyna.types import Action, Context, Outcome, Source, Start, Task, Trajectory, Turn

TASK = Task(id="t/0", world="t", family="t", split="train")
ROOM = "You are in a kitchen. You see a fridge 1, a drawer 2 and a countertop 1."


def context(
    *,
    admissible: tuple[str, ...] | None,
    seed: int = 0,
    observation: str = ROOM,
    turns: tuple[Turn, ...] = (),
) -> Context:
    start = Start(observation=observation, admissible=admissible)
    return Context(task=TASK, start=start, turns=turns, length=len(turns), seed=seed)


def play(policy: Policy, *, world: World, num: int, max_turns: int = 10) -> list[Trajectory]:
    specs = [
        EpisodeSpec(task=task, episode_id=task.id, seed=index)
        for index, task in enumerate(world.tasks(split="train", num=num))
    ]
    played = rollout(
        specs,
        policy=policy,
        make_env=lambda _: world.make(),
        limits=Limits(max_turns=max_turns),
        source=Source.REAL,
    )
    return asyncio.run(played)


def invalid_share(played: list[Trajectory]) -> float:
    turns = [turn for trajectory in played for turn in trajectory.turns]
    assert turns and not any(trajectory.stop.is_failure for trajectory in played)
    return sum(turn.outcome.valid is False for turn in turns) / len(turns)


TEXT = st.text(max_size=40)
LISTED = st.none() | st.lists(TEXT, max_size=6).map(tuple)


@settings(max_examples=300, deadline=None)
@given(LISTED, TEXT, TEXT, st.integers(0, 2**62))
def test_any_episode_gives_a_command_that_is_not_listed(
    admissible: tuple[str, ...] | None, observation: str, right: str, seed: int
) -> None:
    here = context(admissible=admissible, observation=observation, seed=seed)
    command = invalid_command(here, right=right)
    assert command and command not in (*(admissible or ()), right)
    assert command == invalid_command(here, right=right)


def test_commands_are_made_of_what_the_episode_holds() -> None:
    listed = ("go to fridge 1", "open drawer 2", "take apple 1 from fridge 1")
    said = {invalid_command(context(admissible=listed, seed=seed)) for seed in range(400)}
    known = {word for text in (*listed, ROOM) for word in text.replace(",", "").split()}
    known |= {word.strip(".") for word in known}
    assert len(said) > 60 and not said & set(listed)
    words = {word for command in said for word in command.split() if not word.isdecimal()}
    assert words <= known


@pytest.mark.parametrize(
    ("shape", "start"),
    [("click[buy now]", "click["), ('get_price({"city": "Oslo"})', "get_price(")],
)
def test_other_shapes_of_commands_keep_theirs(shape: str, start: str) -> None:
    said = {invalid_command(context(admissible=(shape,), seed=seed)) for seed in range(200)}
    shaped = {command for command in said if command.startswith(start)}
    assert len(shaped) > 5 and any(command.endswith(shape[-1]) for command in shaped)


def test_a_world_that_lists_nothing_gives_its_expert_s_shapes() -> None:
    said = {
        invalid_command(context(admissible=None, seed=seed), right="go to fridge 1")
        for seed in range(100)
    }
    assert "go to fridge 1" not in said
    assert sum(command.startswith("go to ") for command in said) > 10


@pytest.mark.parametrize("listed", [True, False])
def test_in_the_household_most_are_refused_and_the_rest_moves_on(listed: bool) -> None:
    world = HouseholdWorld(admissible=listed)
    played = play(InvalidPolicy(expert=world.expert), world=world, num=12)
    assert 0.5 < invalid_share(played) < 0.9
    assert len({turn.outcome.observation for t in played for turn in t.turns}) > 12
    always = play(InvalidPolicy(invalid=1.0), world=world, num=12)
    assert invalid_share(always) > 0.85


def test_in_a_corridor_every_invalid_command_is_refused() -> None:
    assert invalid_share(play(InvalidPolicy(invalid=1.0), world=CorridorWorld(), num=4)) == 1.0


def test_the_noisy_expert_needs_no_list() -> None:
    world = HouseholdWorld(admissible=False)
    played = play(NoisyExpertPolicy(world.expert, noise=0.2, invalid=0.3), world=world, num=12)
    assert 0.1 < invalid_share(played) < 0.7


def test_noise_without_a_list_repeats_what_was_done() -> None:
    done = Turn(action=Action(command="open fridge 1"), outcome=Outcome(observation="Open."))
    refused = Turn(
        action=Action(command="eat fridge 1"), outcome=Outcome(observation="No.", valid=False)
    )
    here = [context(admissible=None, turns=(done, refused), seed=seed) for seed in range(20)]
    assert {earlier_command(c, right="look") for c in here} == {"open fridge 1"}


def test_it_keeps_the_contract_of_a_policy(tmp_path: Path) -> None:
    check_policy(InvalidPolicy())
    with pytest.raises(ValueError, match="invalid policy invalid"):
        InvalidPolicy(invalid=1.5)
