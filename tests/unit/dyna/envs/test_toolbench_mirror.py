"""The mirror task: pairs, splits, the world of one turn, and its two measures."""

from __future__ import annotations

import ast
import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dyna.envs.toolbench import ToolBenchMirrorWorld, score_mirror
from dyna.protocols import HasExpert, HasSplits
from dyna.testing import check_world
from dyna.types import Action, Context, Outcome, StopReason, Task
from tests.unit.dyna.envs.toolbench_files import write_cache, write_queries
from tests.unit.dyna.envs.toolbench_play import play, say

SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def world() -> ToolBenchMirrorWorld:
    return ToolBenchMirrorWorld()


@pytest.mark.parametrize("split", SPLITS)
def test_the_contract_holds(world: ToolBenchMirrorWorld, split: str) -> None:
    assert isinstance(world, HasSplits) and isinstance(world, HasExpert)
    check_world(world, split=split, commands=("{}", '{"city": "Oslo"}'))


def test_an_episode_is_one_request_and_one_response(world: ToolBenchMirrorWorld) -> None:
    errors = 0
    for task in world.tasks(split="train", num=120):
        start, turns = play(world, task, world.expert)
        (turn,) = turns
        document = json.loads(start.observation.removeprefix("API doc: "))
        assert document["tool_category"] == task.family
        assert start.admissible == (turn.action.command,)
        said = json.loads(turn.outcome.observation)
        assert set(said) == {"error", "response"} and turn.outcome.success
        if said["error"]:
            errors += 1
            continue
        assert start.hidden_state is not None
        known = f"{start.hidden_state} {turn.action.command}"
        if document["api_name"] not in ("road_distance", "convert_usd", "weekday"):
            assert all(str(v) in known for v in _leaves(said["response"]))
    assert 0.1 < errors / 120 < 0.45


def _leaves(response: str) -> list[Any]:
    value = ast.literal_eval(response)
    rows = value.get("results", [value])
    return [v for row in rows for v in row.values() if not isinstance(v, list)]


def test_any_other_request_is_answered_too_and_is_not_the_task(
    world: ToolBenchMirrorWorld,
) -> None:
    tasks = world.tasks(split="train", num=20)
    task = next(task for task in tasks if world.pair(task)[0].request.startswith('{"'))
    for command in ("", "{}", "[]", "x" * 100_000, '{"a": ' * 3000):
        (turn,) = say(world, task, command)
        assert turn.outcome.terminated and not turn.outcome.success and not turn.outcome.valid
    _, turns = play(world, task, world.explorer)
    assert not turns[0].outcome.success


def test_without_invalid_requests_every_one_is_answered() -> None:
    world = ToolBenchMirrorWorld(invalid_share=0, categories=["Weather", "Food"])
    tasks = world.tasks(split="test", num=40)
    outcomes = [play(world, task, world.expert)[1][0].outcome for task in tasks]
    assert {task.family for task in tasks} == {"Weather", "Food"}
    assert sum(outcome.valid is True for outcome in outcomes) >= 36


def test_no_pair_is_in_two_splits_or_twice_in_one(world: ToolBenchMirrorWorld) -> None:
    keys = [world.fingerprint(t) for split in SPLITS for t in world.tasks(split=split, num=60)]
    assert len(set(keys)) == len(keys)


def test_a_task_travels_and_one_that_was_tampered_with_is_refused(
    world: ToolBenchMirrorWorld,
) -> None:
    task = world.tasks(split="train", num=1)[0]
    copy = replace(task, params=json.loads(json.dumps(task.params)))
    assert ToolBenchMirrorWorld(seed=5).fingerprint(copy) == world.fingerprint(task)
    for bad, message in (
        (replace(task, id="x"), "another pair"),
        (replace(task, id="y", params={}), "lacks or distorts"),
        (Task(id="z", world="toolbench", family="f", split="train"), "not of toolbench_mirror"),
    ):
        with pytest.raises(ValueError, match=message):
            asyncio.run(ToolBenchMirrorWorld().make().reset(bad))


def test_recorded_pairs_come_from_the_users_cache(tmp_path: Path) -> None:
    data = str(write_queries(tmp_path / "queries"))
    cache = str(write_cache(tmp_path / "cache"))
    world = ToolBenchMirrorWorld(data=data, cache=cache)
    sizes = {split: size or 0 for split, size in world.splits.items()}
    tasks = [t for split, size in sizes.items() for t in world.tasks(split=split, num=size)]
    said = {}
    for task in tasks:
        start, turns = play(world, task, world.expert)
        said[turns[0].action.command] = turns[0].outcome.observation
        assert turns[0].outcome.success and start.hidden_state is None
        (other,) = say(world, task, '{"page": 1}')
        assert "No recorded response" in other.outcome.observation
    assert said == {
        '{"is_id": "T-1", "lang_code": "en"}': (
            '{"error": "", "response": "{\'status\': \'lost\'}"}'
        ),
        '{"is_id": "T-2", "lang_code": "en"}': '{"error": "Message error...", "response": "no"}',
        "{}": '{"error": "", "response": "{\'up\': 1}"}',
    }
    with pytest.raises(ValueError, match="has only"):
        world.tasks(split="train", num=4)
    with pytest.raises(ValueError, match="not recorded here"):
        world.fingerprint(replace(tasks[0], id="x"))
    with pytest.raises(ValueError, match="no response for any API"):
        (tmp_path / "empty").mkdir()
        ToolBenchMirrorWorld(data=data, cache=str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="needs both"):
        ToolBenchMirrorWorld(data=data)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"invalid_share": 2}, "invalid_share must be in"),
        ({"num_rows": 1}, "num_rows must be in"),
        ({"num_tables": -1}, "num_tables must be >= 0"),
        ({"max_observation": -1}, "max_observation must be >= 0"),
        ({"max_turns": -1}, "max_turns must be >= 0"),
        ({"categories": ["x"]}, "categories must be among"),
    ],
)
def test_parameters_that_make_no_world_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ToolBenchMirrorWorld(**params)


class Oracle:
    """Answers as the world does, but for what `spoil` makes of it."""

    version = 0

    def __init__(self, world: ToolBenchMirrorWorld, *, spoil: str = "") -> None:
        self._world = world
        self._spoil = spoil

    async def predict(self, context: Context, action: Action) -> Outcome:
        env = self._world.make()
        await env.reset(context.task)
        outcome = replace(await env.step(action), admissible=None)
        if self._spoil == "words":
            return replace(outcome, observation=f"{outcome.observation} x")
        if self._spoil == "all":
            return Outcome(observation="", stop=StopReason.UNPARSEABLE, confidence=0.0)
        return outcome


def test_a_model_is_scored_by_exact_match_and_word_f1(world: ToolBenchMirrorWorld) -> None:
    right = score_mirror(Oracle(world), world, split="test", num=30)
    assert right["model/observation_em"] == right["model/word_f1"] == right["model/em"] == 1.0
    assert right["model/scored_turns"] == 30 and right["model/em_invalid"] == 1.0
    near = score_mirror(Oracle(world, spoil="words"), world, split="test", num=30)
    assert near["model/observation_em"] == 0.0 and 0.8 < near["model/word_f1"] < 1.0
    wrong = score_mirror(Oracle(world, spoil="all"), world, split="test", num=30)
    assert wrong["model/word_f1"] == wrong["model/em"] == 0.0
    assert math.isnan(wrong["model/win_precision"]) and wrong["model/win_recall"] == 0.0
