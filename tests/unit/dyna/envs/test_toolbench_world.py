"""ToolBench's invented APIs as a world: tasks, splits, experts, episodes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from dyna.envs.toolbench import ToolBenchWorld
from dyna.envs.toolbench.calls import finish, parse_call
from dyna.envs.toolbench.problems import SPLITS, is_held_out
from dyna.protocols import HasClone, HasExpert, HasExplorer, HasSplits
from dyna.testing import check_world
from dyna.types import Action, StopReason, Task
from tests.unit.dyna.envs.toolbench_play import play, say


@pytest.fixture(scope="module")
def world() -> ToolBenchWorld:
    return ToolBenchWorld(admissible=True)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("admissible", [True, False])
def test_the_contract_holds(split: str, admissible: bool) -> None:
    world = ToolBenchWorld(admissible=admissible)
    assert isinstance(world, HasSplits) and isinstance(world, HasExpert)
    assert isinstance(world, HasExplorer) and isinstance(world.make(), HasClone)
    check_world(world, split=split, commands=("weekday {}", "Finish {}"))


@pytest.mark.parametrize("split", SPLITS)
def test_the_expert_solves_every_task_and_each_command_was_listed(
    world: ToolBenchWorld, split: str
) -> None:
    for task in world.tasks(split=split, num=40):
        start, turns = play(world, task, world.expert)
        assert turns[-1].outcome.success and turns[-1].outcome.reward == 1.0
        assert task.family == f"calls_{len(turns) - 1}"
        for index, turn in enumerate(turns):
            listed = turns[index - 1].outcome.admissible if index else start.admissible
            assert listed is not None and turn.action.command in listed


def test_every_call_of_a_chain_needs_the_one_before(world: ToolBenchWorld) -> None:
    for task in world.tasks(split="train", num=60):
        start, turns = play(world, task, world.expert)
        query = start.observation.splitlines()[0].casefold()
        for before, turn in pairwise(turns):
            given = dict(parse_call(turn.action.command).arguments or {})
            new = [v for v in given.values() if str(v).casefold() not in query]
            assert new, "a call can be made from the query alone"
            if "return_type" not in given:
                assert all(str(value) in before.outcome.observation for value in new)


def test_the_answer_is_unique_whoever_asks(world: ToolBenchWorld) -> None:
    for task in world.tasks(split="test", num=30):
        _, turns = play(world, task, world.expert)
        again = say(ToolBenchWorld(), task, *(turn.action.command for turn in turns))
        assert [t.outcome.observation for t in again] == [t.outcome.observation for t in turns]


def test_no_game_is_in_two_splits_even_of_worlds_of_other_seeds() -> None:
    seen: dict[str, str] = {}
    for seed in (0, 1):
        world = ToolBenchWorld(seed=seed, calls=[1, 2], num_distractors=0)
        for split in SPLITS:
            for task in world.tasks(split=split, num=30):
                assert seen.setdefault(world.fingerprint(task), split) == split


def test_held_out_compositions_are_not_trained_on(world: ToolBenchWorld) -> None:
    for split, held_out in (("train", False), ("valid_seen", False), ("valid_unseen", True)):
        for task in world.tasks(split=split, num=40):
            problem, _ = world._problems.problem(task)
            assert is_held_out(problem.composition) is held_out


def test_a_task_travels_and_one_that_was_tampered_with_is_refused(world: ToolBenchWorld) -> None:
    task = world.tasks(split="train", num=1)[0]
    copy = replace(task, params=json.loads(json.dumps(task.params)))
    assert ToolBenchWorld(num_rows=20).fingerprint(copy) == world.fingerprint(task)
    wrong: list[tuple[Task, str]] = [
        (replace(task, world="corridor"), "not of toolbench"),
        (Task(id="toolbench/x", world="toolbench", family="f", split="train"), "not of toolbench"),
        (replace(task, id=task.id[:-1] + "z"), "another problem"),
        (replace(task, id="a", params={**task.params, "attempt": 10**6}), "another problem"),
        (replace(task, id="b", params={"attempt": 0}), "lacks or distorts"),
        (replace(task, id="c", params={**task.params, "num_rows": "x"}), "lacks or distorts"),
    ]
    for bad, message in wrong:
        with pytest.raises(ValueError, match=message):
            asyncio.run(ToolBenchWorld().make().reset(bad))


def test_what_the_agent_does_wrong_is_answered_and_the_episode_goes_on() -> None:
    world = ToolBenchWorld(max_turns=6)
    task = world.tasks(split="train", num=1)[0]
    commands = ("Finish {}", "no_such_api {}", "", "Finish {", 'Finish {"return_type": "x"}', "x")
    outcomes = [turn.outcome for turn in say(world, task, *commands)]
    assert all(outcome.valid is False and not outcome.terminated for outcome in outcomes)
    assert [o.stop for o in outcomes] == [None] * 5 + [StopReason.STEP_LIMIT]
    assert "No such function name: no_such_api" in outcomes[1].observation


def test_a_wrong_answer_and_giving_up_end_the_episode_without_success() -> None:
    world = ToolBenchWorld()
    task = world.tasks(split="train", num=1)[0]
    for command in (finish("no idea"), 'Finish {"return_type": "give_up_and_restart"}'):
        (turn,) = say(world, task, command)
        assert turn.outcome.terminated and not turn.outcome.success and turn.outcome.reward == 0


def test_toolbenchs_long_names_are_understood() -> None:
    world = ToolBenchWorld(calls=[1])
    task = world.tasks(split="train", num=1)[0]
    api = world._problems.problem(task)[0].steps[0].api
    _, turns = play(world, task, world.expert)
    command = turns[0].action.command
    (turn,) = say(world, task, command.replace(api.name, f"{api.name}_for_{api.tool}", 1))
    assert turn.outcome == turns[0].outcome and turn.outcome.valid


def test_a_part_of_a_list_is_rewarded_by_its_share_if_so_asked() -> None:
    for match, expected in (("f1", True), ("exact", False)):
        world = ToolBenchWorld(calls=[1], match=match, num_rows=20)
        for task in world.tasks(split="train", num=150):
            problem, _ = world._problems.problem(task)
            if isinstance(problem.answer, list) and len(problem.answer) > 1:
                (turn,) = say(world, task, finish(problem.answer[:1]))
                assert not turn.outcome.success and (turn.outcome.reward > 0) is expected
                break
        else:
            pytest.fail("no task asks for a list")


def test_the_explorer_errs_in_every_class_and_still_wins_at_times(world: ToolBenchWorld) -> None:
    said: list[str] = []
    wins = 0
    for task in world.tasks(split="train", num=60):
        _, turns = play(world, task, world.explorer, max_turns=20)
        said += [turn.outcome.observation for turn in turns]
        wins += turns[-1].outcome.success
    text = "\n".join(said)
    for error in (
        "No such function name",
        "Tool input parse error",
        "unexpected keyword argument",
        "missing 1 required positional argument",
        "Message error",
        '"error": ""',
    ):
        assert error in text, error
    assert 10 <= wins <= 55


def test_the_hidden_state_holds_what_the_experts_calls_are_answered(world: ToolBenchWorld) -> None:
    for task in world.tasks(split="train", num=40):
        start, _ = play(world, task, world.expert)
        problem, _ = world._problems.problem(task)
        assert start.hidden_state is not None and len(start.hidden_state) < 6000
        assert start.hidden_state.endswith(f"answer {problem.answer}")
        for step, value in zip(problem.steps, problem.values, strict=True):
            if step.api.name not in ("road_distance", "convert_usd", "weekday"):
                for item in value if isinstance(value, list) else [value]:
                    assert str(item) in start.hidden_state
    hidden = ToolBenchWorld(expose_hidden_state=False)
    assert play(hidden, task, hidden.expert)[0].hidden_state is None


@pytest.mark.parametrize("documents", ["full", "compact", "names"])
def test_documents_are_as_long_as_asked_for(documents: str) -> None:
    world = ToolBenchWorld(documents=documents, num_distractors=3, calls=[2])
    start, _ = play(world, world.tasks(split="train", num=1)[0], world.expert)
    lines = start.observation.splitlines()[2:-2]
    assert len(lines) == 5
    if documents == "full":
        assert all("template_response" in json.loads(line) for line in lines)
    else:
        assert all((": " in line) is (documents == "compact") for line in lines)


@pytest.mark.parametrize(
    ("params", "length"),
    [({"calls": [1, 2], "num_distractors": 2}, 500), ({}, 800), ({"documents": "full"}, 3500)],
)
def test_episodes_begin_as_briefly_as_the_page_says(params: dict[str, Any], length: int) -> None:
    world = ToolBenchWorld(**params)
    for task in world.tasks(split="train", num=100):
        start, _ = play(world, task, lambda context: "x", max_turns=1)
        assert len(start.observation) < length and len(start.hidden_state or "") < 2000


def test_tables_can_be_shared_and_categories_chosen() -> None:
    world = ToolBenchWorld(num_tables=2, categories=["Music", "Sports"], calls=[1, 2])
    tasks = world.tasks(split="train", num=30)
    assert len({task.params["tables"] for task in tasks}) == 2
    for task in tasks:
        problem, _ = world._problems.problem(task)
        assert {api.category for api in problem.apis} <= {"Music", "Sports"}


def test_a_small_world_says_when_it_is_exhausted() -> None:
    world = ToolBenchWorld(num_tables=1, categories=["Weather"], calls=[1], num_rows=6)
    with pytest.raises(ValueError, match=r"split 'train' has only \d+ tasks"):
        world.tasks(split="train", num=2000)


def test_a_clone_goes_on_by_itself() -> None:
    world = ToolBenchWorld(admissible=True)
    task = world.tasks(split="train", num=1)[0]
    _, turns = play(world, task, world.expert)

    async def fork() -> None:
        env = world.make()
        assert isinstance(env, HasClone)
        await env.reset(task)
        twin = await env.clone()
        for turn in turns:
            assert await twin.step(Action(command=turn.action.command)) == turn.outcome
        with pytest.raises(RuntimeError, match="call reset"):
            await twin.step(Action(command="x"))
        assert (await env.step(turns[0].action)) == turns[0].outcome
        await env.close()
        with pytest.raises(RuntimeError, match="call reset"):
            await env.step(Action(command="x"))

    asyncio.run(fork())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"calls": [5]}, "calls must list numbers"),
        ({"calls": []}, "calls must list numbers"),
        ({"num_distractors": -1}, "num_distractors must be >= 0"),
        ({"num_tables": -1}, "num_tables must be >= 0"),
        ({"num_rows": 3}, "num_rows must be in"),
        ({"categories": ["Wether"]}, "categories must be among"),
        ({"match": "fuzzy"}, "match must be one of"),
        ({"documents": "long"}, "documents must be one of"),
        ({"max_observation": 100}, "max_observation must be 0 or"),
        ({"max_turns": -1}, "max_turns must be >= 0"),
        ({"cache": "x"}, "set `data`"),
        ({"server": "http://x"}, "set `data`"),
        ({"judge": {"name": "openai"}}, "set `data`"),
    ],
)
def test_parameters_that_make_no_world_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ToolBenchWorld(**params)


def test_unknown_splits_and_negative_numbers_are_refused(world: ToolBenchWorld) -> None:
    with pytest.raises(ValueError, match="split must be one of"):
        world.tasks(split="dev", num=1)
    with pytest.raises(ValueError, match="must be >= 0"):
        world.tasks(split="train", num=-1)
