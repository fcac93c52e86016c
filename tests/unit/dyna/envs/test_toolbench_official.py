"""StableToolBench's queries as a world: files, cache, virtual server and judge."""

from __future__ import annotations

import gzip
import json
import lzma
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from dyna.envs.toolbench import ToolBenchWorld, Verdict
from dyna.envs.toolbench.backends import ServerError
from dyna.envs.toolbench.calls import finish
from dyna.envs.toolbench.judge import OpenAIJudge, make_judge
from dyna.envs.toolbench.official import NOT_JUDGED, NOT_RECORDED
from dyna.envs.toolbench.queries import load_queries, standardize, standardize_category
from dyna.files import DamagedFileError
from dyna.protocols import HasExpert
from dyna.testing import check_world
from dyna.types import StopReason, Task
from tests.unit.dyna.envs.toolbench_files import (
    HEALTH,
    HEALTH_API,
    PARCEL,
    PARCEL_API,
    query,
    write_cache,
    write_queries,
)
from tests.unit.dyna.envs.toolbench_play import as_json, play, say, serving

GOOD = f'{PARCEL} {{"is_id": "T-1", "lang_code": "en"}}'


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write_queries(tmp_path / "queries"))


@pytest.fixture
def cache(tmp_path: Path) -> str:
    return str(write_cache(tmp_path / "cache"))


def first(world: ToolBenchWorld, split: str = "train") -> Task:
    return world.tasks(split=split, num=1)[0]


class FixedJudge:
    """Says what it is told to say, and is a plug-in like any other."""

    def __init__(self, *, verdict: str) -> None:
        self._verdict = Verdict(verdict)

    @property
    def model(self) -> str:
        return "fixed-1"

    def judge(self, *, query: str, answer: str, calls: Sequence[tuple[str, str]]) -> Verdict:
        assert query and answer and all(len(call) == 2 for call in calls)
        return self._verdict


def judge_of(verdict: str) -> dict[str, Any]:
    return {"name": f"{__name__}:FixedJudge", "params": {"verdict": verdict}}


def test_the_contract_holds(data: str, cache: str) -> None:
    world = ToolBenchWorld(data=data, cache=cache, judge=judge_of("Unsolved"))
    for split in ("train", "test"):
        check_world(world, split=split, commands=(GOOD, f"{HEALTH} {{}}", finish("x")))
    assert not isinstance(world, HasExpert)


def test_equal_questions_are_one_game_and_stay_in_one_split(data: str, cache: str) -> None:
    world = ToolBenchWorld(data=data, cache=cache)
    sizes = world.splits
    assert sum(size or 0 for size in sizes.values()) == 24 and min(sizes.values()) > 3  # type: ignore[type-var]
    tasks = {
        task.params["query"]: task
        for split, size in sizes.items()
        for task in world.tasks(split=split, num=size or 0)
    }
    twins = tasks["G1_tool/0"], tasks["G2_category/0"]
    assert world.fingerprint(twins[0]) == world.fingerprint(twins[1])
    assert twins[0].split == twins[1].split and twins[0].id != twins[1].id
    for share, split in ((1.0, "test"), (0.0, "train")):
        assert ToolBenchWorld(data=data, cache=cache, test_share=share).splits[split] == 24


def test_a_recorded_call_is_answered_in_any_order_of_its_keys(data: str, cache: str) -> None:
    world = ToolBenchWorld(data=data, cache=cache)
    other = f'{PARCEL} {{"lang_code": "en", "is_id": "T-1"}}'
    short = GOOD.replace(PARCEL, "status_for_parcel_watch_2")
    toolbenchs = f'Action: {PARCEL}\nAction Input: {{"is_id": "T-1", "lang_code": "en"}}'
    for command in (GOOD, other, short, toolbenchs):
        (turn,) = say(world, first(world), command)
        assert turn.outcome.observation == '{"error": "", "response": "{\'status\': \'lost\'}"}'
        assert turn.outcome.valid
    said = say(world, first(world), GOOD.replace("T-1", "T-2"), GOOD.replace("T-1", "T-3"), "x {}")
    assert [turn.outcome.valid for turn in said] == [False] * 3
    assert "Message error..." in said[0].outcome.observation
    assert NOT_RECORDED in said[1].outcome.observation
    assert "No such function name: x" in said[2].outcome.observation
    (turn,) = say(world, first(world), HEALTH)
    assert "up" in turn.outcome.observation


def test_without_anybody_to_answer_the_world_is_not_made(data: str) -> None:
    with pytest.raises(ValueError, match=r"set `cache` to a folder .* or `server`"):
        ToolBenchWorld(data=data)
    with pytest.raises(FileNotFoundError, match="tool_response_cache"):
        ToolBenchWorld(data=data, cache="no such folder")
    with pytest.raises(ValueError, match="http:// or https://"):
        ToolBenchWorld(data=data, server="localhost:8080")
    with pytest.raises(ValueError, match="timeout_s must be > 0"):
        ToolBenchWorld(data=data, server="http://x", timeout_s=0)
    with pytest.raises(ValueError, match="test_share must be in"):
        ToolBenchWorld(data=data, server="http://x", test_share=2)


def test_the_virtual_server_is_asked_what_the_cache_does_not_hold(data: str, cache: str) -> None:
    def reply(body: Mapping[str, Any]) -> tuple[int, bytes]:
        return as_json({"error": "", "response": f"{body['api_name']} {body['tool_input']}"})

    with serving(reply) as (url, seen):
        world = ToolBenchWorld(
            data=data, cache=cache, server=f"{url}/virtual", toolbench_key="secret"
        )
        turns = say(world, first(world), GOOD, GOOD.replace("T-1", "T-9"))
        assert "lost" in turns[0].outcome.observation and "T-9" in turns[1].outcome.observation
    (request,) = seen
    assert request["path"] == "/virtual"
    assert request["body"] == {
        "category": "Logistics",
        "tool_name": "parcel_watch_2",
        "api_name": "latest_status",
        "tool_input": '{"is_id": "T-9", "lang_code": "en"}',
        "strip": "truncate",
        "toolbench_key": "secret",
    }


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((500, b"oops"), "answered HTTP 500: oops"),
        ((200, b"<html>"), "answered with no JSON"),
        ((200, b"[1]"), "JSON that is no object"),
        ((200, b'{"response": 1}'), "without `error` and `response`"),
        ((200, b"[" * 100_000), "answered with no JSON"),
    ],
)
def test_a_failing_server_fails_the_episode_and_is_named(
    data: str, answer: tuple[int, bytes], message: str
) -> None:
    with serving(lambda body: answer) as (url, _):
        world = ToolBenchWorld(data=data, server=url)
        with pytest.raises(ServerError, match=message) as raised:
            say(world, first(world), GOOD)
        assert url in str(raised.value)


def test_a_server_that_hangs_or_is_not_there_is_named_in_time(data: str) -> None:
    def hang(body: Mapping[str, Any]) -> tuple[int, bytes]:
        time.sleep(0.6)
        return as_json({})

    with serving(hang) as (url, _):
        world = ToolBenchWorld(data=data, server=url, timeout_s=0.2)
        with pytest.raises(ServerError, match=r"did not answer within 0\.2 s"):
            say(world, first(world), GOOD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(ServerError, match="cannot be reached"):
            world = ToolBenchWorld(data=data, server=url, timeout_s=2)
            say(world, first(world), GOOD)


def test_without_a_judge_nothing_succeeds_and_that_is_said(data: str, cache: str) -> None:
    world = ToolBenchWorld(data=data, cache=cache)
    turns = say(world, first(world), GOOD, finish("It is lost."))
    last = turns[-1].outcome
    assert last.stop is StopReason.TERMINATED and not last.success and last.reward == 0
    assert json.loads(last.observation)["judge"] == NOT_JUDGED and world.judge_model == ""


@pytest.mark.parametrize(
    ("verdict", "reward", "success"),
    [("Solved", 1.0, True), ("Unsure", 0.5, False), ("Unsolved", 0.0, False)],
)
def test_the_judges_verdict_is_the_reward_and_its_model_is_recorded(
    data: str, cache: str, verdict: str, reward: float, success: bool
) -> None:
    world = ToolBenchWorld(data=data, cache=cache, judge=judge_of(verdict))
    outcome = say(world, first(world), GOOD, finish("It is lost."))[-1].outcome
    assert (outcome.reward, outcome.success, outcome.terminated) == (reward, success, True)
    assert json.loads(outcome.observation)["judge"] == {"model": "fixed-1", "verdict": verdict}
    assert world.judge_model == "fixed-1"
    empty = say(world, first(world), finish(" "))[-1].outcome
    assert not empty.success and '"Unsolved"' in empty.observation
    gave_up = say(world, first(world), 'Finish {"return_type": "give_up_and_restart"}')[-1].outcome
    assert gave_up.terminated and not gave_up.success


def chat(text: str, *, model: str = "judge-2030-01-01") -> tuple[int, bytes]:
    return as_json({"model": model, "choices": [{"message": {"content": text}}]})


def test_an_openai_compatible_judge_is_pinned_to_its_model(
    data: str, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "k")
    with serving(lambda body: chat('{"verdict": "Solved", "reason": "x"}')) as (url, seen):
        params = {"model": "judge-2030-01-01", "base_url": f"{url}/v1", "api_key_env": "JUDGE_KEY"}
        world = ToolBenchWorld(data=data, cache=cache, judge={"name": "openai", "params": params})
        outcome = say(world, first(world), GOOD, finish("It is {lost}."))[-1].outcome
    assert outcome.success and "judge-2030-01-01" in outcome.observation
    (request,) = seen
    assert request["path"] == "/v1/chat/completions"
    assert request["headers"]["Authorization"] == "Bearer k"
    body = request["body"]
    assert body["model"] == "judge-2030-01-01" and body["temperature"] == 0
    prompt = body["messages"][0]["content"]
    assert "It is {lost}." in prompt and "'status': 'lost'" in prompt and "arcel" in prompt


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (chat('{"verdict": "Solved"}', model="other"), "answered as model 'other'"),
        (chat("Sure, it is solved!"), "gave no verdict"),
        (chat('{"verdict": "Solved"} or {"verdict": "Unsolved"}'), "gave no verdict"),
        (as_json({"model": "judge-2030-01-01", "choices": []}), "without a message"),
        (as_json({"error": "quota"}, status=429), "answered HTTP 429"),
    ],
)
def test_a_judge_that_fails_has_not_said_unsolved(reply: tuple[int, bytes], message: str) -> None:
    with serving(lambda body: reply) as (url, _):
        judge = OpenAIJudge(model="judge-2030-01-01", base_url=url)
        with pytest.raises(ServerError, match=message):
            judge.judge(query="q", answer="a", calls=[])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "judge must be"),
        ({"name": 3}, "judge must be"),
        ({"name": "openai", "model": "x"}, "judge must be"),
        ({"name": "openai"}, "cannot be made"),
        ({"name": "openai", "params": {"model": " "}}, "pinned name"),
        ({"name": "openai", "params": {"model": "m", "base_url": "x"}}, "https://"),
        ({"name": "no.such.module:X"}, "cannot be made"),
        ({"name": "json:NoSuch"}, "cannot be made"),
        ({"name": "json"}, "cannot be made"),
        ({"name": "fractions:Fraction"}, "needs `model` and `judge`"),
    ],
)
def test_a_config_that_names_no_judge_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_judge(config)


def test_names_are_made_as_toolbench_makes_them() -> None:
    assert standardize("/v1/Get  Word--by Start!") == "v1_get_word_by_start"
    assert standardize("3News") == "get_3news" and standardize("--") == ""
    assert standardize_category("News, Media") == "News_Media"
    assert PARCEL.endswith("_for_parcel_watch_2") and HEALTH == "health_for_get_3news"


def test_one_file_or_all_sets_in_one_plain_or_packed_are_read(tmp_path: Path) -> None:
    queries = [query("a?", 1), query("b?", 2)]
    plain = json.dumps(queries).encode()
    packed = json.dumps({"G1_tool": queries, "G3_instruction": queries}).encode()
    for name, content, num in (
        ("G1_tool.json", plain, 2),
        ("all.json", packed, 4),
        ("all.json.xz", lzma.compress(packed), 4),
        ("all.json.gz", gzip.compress(packed), 4),
    ):
        (tmp_path / name).write_bytes(content)
        loaded = load_queries(tmp_path / name)
        assert len(loaded) == num and {q.relevant for q in loaded} == {(PARCEL,)}
        assert loaded[0].family == "G1_tool" and loaded[0].apis[0].required == (
            "is_id",
            "lang_code",
        )


def broken_files() -> list[tuple[str, bytes, str]]:
    whole = json.dumps([query("a?", 1)]).encode()
    no_name = {**PARCEL_API, "required_parameters": [{"type": "STRING"}]}
    return [
        ("a.json", whole[: len(whole) // 2], "not whole JSON"),
        ("a.json", b"", "not whole JSON"),
        ("a.json", b"\xff\xfe\x00", "not whole JSON"),
        ("a.json", b"[" * 100_000, "not whole JSON"),
        ("a.json.xz", lzma.compress(whole)[:-20], "not whole JSON"),
        ("a.json.xz", b"version https://git-lfs", "not whole JSON"),
        ("a.json.gz", gzip.compress(whole)[:-9], "not whole JSON"),
        ("a.json", b"[]", "holds no queries"),
        ("a.json", b"{}", "holds no queries"),
        ("a.json", b"3", "must be a list"),
        ("a.json", b"[3]", r"a\[0\] must be an object"),
        ("a.json", json.dumps([query("", 1)]).encode(), "no `query`"),
        ("a.json", json.dumps([{"query": "a"}]).encode(), "no `api_list`"),
        ("a.json", json.dumps([query("a", 1, {"tool_name": "x"})]).encode(), "category_name"),
        ("a.json", json.dumps([query("a", 1, no_name)]).encode(), "without `name`"),
        ("a.json", json.dumps([query("a", 1), query("b", 1)]).encode(), "twice"),
    ]


@pytest.mark.parametrize(("name", "content", "message"), broken_files())
def test_a_broken_file_is_named_with_its_fault(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DamagedFileError, match=message) as raised:
        load_queries(tmp_path / name)
    assert name in str(raised.value)


def test_missing_files_and_empty_folders_say_what_to_point_to(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="solvable_queries"):
        load_queries(tmp_path)
    with pytest.raises(FileNotFoundError, match="solvable_queries"):
        load_queries(tmp_path / "none.json")


@pytest.mark.parametrize("content", [b'{"{}": {"err', b"[]", b"\xff"])
def test_a_broken_file_of_the_cache_is_named(data: str, cache: str, content: bytes) -> None:
    file = Path(cache) / "News_Media" / "get_3news" / "health.json"
    file.write_bytes(content)
    world = ToolBenchWorld(data=data, cache=cache)
    with pytest.raises(DamagedFileError, match=r"health\.json"):
        say(world, first(world), HEALTH)
    assert "lost" in say(world, first(world), GOOD)[0].outcome.observation


def test_the_documents_are_shown_with_the_names_to_call(data: str, cache: str) -> None:
    for documents, expected in (
        ("names", f"{PARCEL}(is_id, lang_code, page?)"),
        ("compact", f"{PARCEL}(is_id, lang_code, page?): The last status."),
        ("full", f'{{"function": "{PARCEL}", "category_name": "Logistics"'),
    ):
        world = ToolBenchWorld(data=data, cache=cache, documents=documents)
        start, _ = play(world, first(world), lambda context: "x", max_turns=1)
        assert expected in start.observation and start.hidden_state is None
    assert HEALTH_API["api_description"] == ""


def test_tasks_of_other_files_and_too_many_tasks_are_refused(data: str, cache: str) -> None:
    world = ToolBenchWorld(data=data, cache=cache)
    with pytest.raises(ValueError, match="change `test_share`"):
        world.tasks(split="train", num=25)
    with pytest.raises(ValueError, match="split must be one of"):
        world.tasks(split="valid", num=1)
    with pytest.raises(ValueError, match="must be >= 0"):
        world.tasks(split="train", num=1, offset=-1)
    with pytest.raises(ValueError, match="not of these queries"):
        say(world, Task(id="x", world="toolbench", family="f", split="train"), "x")
