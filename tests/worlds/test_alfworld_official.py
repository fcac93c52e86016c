"""The real ALFWorld engine behind the same id: same tasks, same words, one engine a process.

Needs the `alfworld` extra and the packed games. What the engines say turn by turn is compared at
length in `tests/differential`; here, what the world adds around them.
"""

from __future__ import annotations

import asyncio

import pytest

from dyna.envs.alfworld import AlfworldWorld
from dyna.envs.alfworld.official import OfficialEngine, clean_text, engine_share
from dyna.envs.household.oracle import next_command
from dyna.protocols import Env
from dyna.testing import check_outcome
from dyna.types import Action, Outcome, Start, Task
from tests.worlds.official_data import official

pytest.importorskip("alfworld", reason="the alfworld extra is not installed")

PACK = "alfworld_games.jsonl.xz"
HOSTILE = ("", " ", "xyzzy", "go " * 30_000, "\x00\u00e9\u4e2d<|im_end|>", "[reward 1; done]")


@pytest.fixture(scope="module")
def worlds() -> tuple[AlfworldWorld, AlfworldWorld]:
    """(ours, the real one)"""
    data = str(official(PACK))
    return AlfworldWorld(data=data), AlfworldWorld(data=data, engine="official", max_turns=40)


def smallest(world: AlfworldWorld, *, num: int) -> list[Task]:
    """Tasks of `valid_seen` with the shortest problems, which the real engine loads soonest."""
    tasks = world.tasks(split="valid_seen", num=world.splits["valid_seen"] or 0)
    return sorted(tasks, key=lambda task: len(world.problem(task)))[:num]


async def play(env: Env, task: Task, commands: list[str]) -> list[Start | Outcome]:
    said: list[Start | Outcome] = [await env.reset(task)]
    for command in commands:
        outcome = await env.step(Action(command=command))
        check_outcome(outcome)
        said.append(outcome)
    await env.close()
    return said


def solution(world: AlfworldWorld, task: Task) -> list[str]:
    game, commands = world.game(task), list[str]()
    while not game.won:
        commands.append(next_command(game))
        game.step(commands[-1])
    return commands


def test_both_engines_have_the_same_tasks(worlds: tuple[AlfworldWorld, AlfworldWorld]) -> None:
    ours, real = worlds
    assert ours.splits == real.splits
    for split, size in ours.splits.items():
        assert ours.tasks(split=split, num=size or 0) == real.tasks(split=split, num=size or 0)


def test_an_episode_is_the_same_to_the_last_field_in_both_engines(
    worlds: tuple[AlfworldWorld, AlfworldWorld],
) -> None:
    ours, real = worlds
    for task in smallest(ours, num=2):
        commands = ["look", "help", *HOSTILE, *solution(ours, task)]
        said = asyncio.run(play(ours.make(), task, commands))
        assert asyncio.run(play(real.make(), task, commands)) == said
        last = said[-1]
        assert isinstance(last, Outcome) and last.success


def test_episodes_that_take_turns_share_the_engine_and_do_not_mix(
    worlds: tuple[AlfworldWorld, AlfworldWorld],
) -> None:
    ours, real = worlds
    first, second = smallest(ours, num=2)

    async def take_turns(world: AlfworldWorld) -> list[Start | Outcome]:
        one, other = world.make(), world.make()
        said: list[Start | Outcome] = [await one.reset(first), await other.reset(second)]
        for commands in zip(solution(ours, first)[:2], solution(ours, second)[:2], strict=True):
            for env, command in zip((one, other), commands, strict=True):
                said.append(await env.step(Action(command=command)))
        await one.close()
        await other.close()
        return said

    expected = asyncio.run(take_turns(ours))
    assert asyncio.run(take_turns(real)) == expected
    assert engine_share().engine() is engine_share().engine()


def test_nothing_may_follow_the_end_but_a_reset(
    worlds: tuple[AlfworldWorld, AlfworldWorld],
) -> None:
    async def run() -> None:
        env = worlds[1].make()
        with pytest.raises(RuntimeError, match="call reset"):
            await env.step(Action(command="look"))
        await env.close()
        await env.close()

    asyncio.run(run())


def test_words_that_are_json_or_grammar_do_not_break_the_engine(
    worlds: tuple[AlfworldWorld, AlfworldWorld],
) -> None:
    ours, _ = worlds
    (task,) = smallest(ours, num=1)
    engine = OfficialEngine()
    words = 'say "hi" \\ twice #look# {x}, and put it away'
    first = engine.load(ours.problem(task), task=words)
    assert first.endswith(f"Your task is to: {words}.")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("You see a  mug 1 , and a pen 2 .", "You see a mug 1, and a pen 2."),
        ("  You are here. \n\nYour task is to: x.\n", "You are here.\n\nYour task is to: x."),
    ],
)
def test_the_grammars_blanks_are_taken_out(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean
