"""Calls of APIs: the forms that are read, and ToolBench's classes of errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyna.envs.toolbench.answers import is_right, set_f1
from dyna.envs.toolbench.calls import (
    cut,
    execute,
    finish,
    parse_call,
    read_finish,
    read_response,
    write_call,
)
from dyna.envs.toolbench.catalog import APIS, SOURCES
from dyna.envs.toolbench.documents import Output, schema_of
from dyna.envs.toolbench.tables import make_tables

TABLES = make_tables(0)
PARCEL = TABLES["shipments"][0]


@pytest.mark.parametrize(
    "command",
    [
        'track_parcel {"tracking": "T-1"}',
        'track_parcel({"tracking": "T-1"})',
        '  track_parcel  {"tracking":"T-1"} ',
        'Action: track_parcel {"tracking": "T-1"}',
        'Thought: find it.\nAction: track_parcel\nAction Input: {"tracking": "T-1"}',
        'Action: track_parcel\nAction Input: {\n "tracking": "T-1"\n}\nEnd Action',
        '{"name": "track_parcel", "arguments": {"tracking": "T-1"}}',
        '{"name": "track_parcel", "arguments": "{\\"tracking\\": \\"T-1\\"}"}',
        '{"name": "track_parcel", "parameters": {"tracking": "T-1"}}',
    ],
)
def test_every_form_of_a_call_is_read(command: str) -> None:
    call = parse_call(command)
    assert (call.name, call.arguments) == ("track_parcel", {"tracking": "T-1"})


@pytest.mark.parametrize("command", ["x [1]", "x {", 'x {"a": }', "x 1", "x" * 100_000])
def test_what_is_no_object_has_no_arguments(command: str) -> None:
    assert parse_call(command).arguments is None


def test_a_name_alone_is_a_call_without_arguments() -> None:
    assert parse_call("inbox").arguments == {}


@given(
    st.from_regex(r"[a-z_]{1,20}", fullmatch=True),
    st.dictionaries(st.text(max_size=9), st.text(max_size=9) | st.integers(), max_size=4),
)
def test_what_is_written_is_read_back(name: str, arguments: dict[str, Any]) -> None:
    call = parse_call(write_call(name, arguments))
    assert (call.name, call.arguments) == (name, arguments)


def error_of(name: str, arguments: dict[str, Any] | None) -> str:
    answer = execute(APIS[name], arguments=arguments, tables=TABLES)
    said = json.loads(answer.text)
    assert set(said) == {"error", "response"} and read_response(answer.text) is None
    return said["error"] + said["response"]


def test_the_classes_of_errors_are_toolbenchs() -> None:
    place = "Function executing from toolenv.tools.Logistics.parcel_watch.api import track_parcel"
    assert error_of("track_parcel", None) == "Tool input parse error...\n"
    assert error_of("track_parcel", {"tracking": "T-1", "abdc": 1}) == (
        f"{place} error...\ntrack_parcel() got an unexpected keyword argument 'abdc'"
    )
    assert error_of("track_parcel", {}) == (
        f"{place} error...\ntrack_parcel() missing 1 required positional argument: 'tracking'"
    )
    assert "missing 2 required positional arguments: 'origin' and 'destination'" in error_of(
        "flights_between", {}
    )
    assert error_of("track_parcel", {"tracking": "T-1"}) == (
        "Message error...{'message': 'no tracking T-1'}"
    )
    assert "must be a string" in error_of("track_parcel", {"tracking": ["T-1"]})
    for amount in ("9", True, float("nan"), float("inf"), 10**400, None):
        assert "amount must be a number" in error_of(
            "convert_usd", {"amount": amount, "currency": "X"}
        )


def test_a_good_call_is_answered_with_the_row() -> None:
    answer = execute(
        APIS["track_parcel"], arguments={"tracking": PARCEL["tracking"]}, tables=TABLES
    )
    expected = {"location": PARCEL["location"], "eta": PARCEL["eta"]}
    assert answer.error == "" and answer.response == expected
    assert read_response(answer.text) == expected


def test_a_listing_is_cut_at_its_limit_and_says_how_many_there_are() -> None:
    people = [row["city"] for row in TABLES["contacts"]]
    city = max(people, key=people.count)
    for limit, shown in ((1, 1), (0, 1), (-5, 1), (99, people.count(city))):
        answer = execute(
            APIS["people_in_city"], arguments={"city": city, "limit": limit}, tables=TABLES
        )
        assert answer.response["total"] == people.count(city) > 1
        assert len(answer.response["results"]) == min(shown, 10)


def test_a_value_is_read_only_where_it_is_unique_and_whole() -> None:
    cheapest = Output(field="name", kind="text", phrase="", pick="min:price")
    rows = [{"name": "a", "price": 2.0}, {"name": "b", "price": 1.0}]
    assert cheapest.read({"total": 2, "results": rows}) == "b"
    assert cheapest.read({"total": 3, "results": rows}) is None
    assert cheapest.read({"total": 2, "results": [rows[0], rows[0]]}) is None
    for nonsense in (None, "x", [], {"results": 3}, {"total": 1, "results": [{"price": []}]}):
        assert cheapest.read(nonsense) is None


def test_there_are_enough_apis_and_each_is_documented_and_answers() -> None:
    assert len(APIS) >= 60 and len({api.category for api in APIS.values()}) >= 12
    for api in APIS.values():
        record = api.record()
        assert {"category_name", "tool_name", "api_name", "api_description"} < set(record)
        assert record["required_parameters"] and record["method"] == "GET"
        for parameter in record["required_parameters"] + record["optional_parameters"]:
            assert set(parameter) == {"name", "type", "description", "default"}
        assert answered(api.name), f"{api.name} never answers"


def answered(name: str) -> bool:
    api = APIS[name]
    for seed in range(40):
        tables = make_tables(seed)
        arguments = {
            p.name: tables[SOURCES[p.kind][0]][seed % (index + 3)][SOURCES[p.kind][1]]
            for index, p in enumerate(api.required)
        }
        answer = execute(api, arguments=arguments, tables=tables)
        if not answer.error:
            assert len(answer.text) <= 512
            return True
    return False


def test_the_schema_of_a_response_is_written_as_toolbench_does() -> None:
    value = {"a": "x", "b": [{"c": 1}, {"c": 2}], "d": ["x"], "e": [], "f": None}
    assert schema_of(value) == {
        "a": "str",
        "b": [{"c": "int", "_list_length": 2}],
        "d": ["list of str with length 1"],
        "e": "empty list",
        "f": "NoneType",
    }


@pytest.mark.parametrize(
    ("arguments", "answer", "error"),
    [
        ({"return_type": "give_answer", "final_answer": "x"}, "x", ""),
        ({"return_type": "give_answer", "final_answer": 4}, "4", ""),
        ({"return_type": "give_answer", "final_answer": ["x"]}, '["x"]', ""),
        ({"return_type": "give_up_and_restart"}, None, ""),
        ({"return_type": "give_answer"}, None, 'must have "final_answer"'),
        ({"return_type": 3}, None, '"return_type" is not a valid choice'),
        ({"final_answer": "x"}, None, 'must have "return_type"'),
        (None, None, 'must have "return_type"'),
    ],
)
def test_finish_is_checked(arguments: Any, answer: str | None, error: str) -> None:
    ending = read_finish(arguments)
    assert (ending.answer, ending.error) == (answer, error)


@pytest.mark.parametrize(
    ("answer", "truth", "right", "f1"),
    [
        ("Oslo", "oslo", True, 1.0),
        (' "Oslo." ', "Oslo", True, 1.0),
        ("21.50", 21.5, True, 1.0),
        ("4", 4.0, True, 1.0),
        ("-0.0", 0, False, 0.0),
        ("Oslo or Lima", "Oslo", False, 0.0),
        ("", "Oslo", False, 0.0),
        ('["b", "A"]', ["a", "b"], True, 1.0),
        ("b, a", ["a", "b"], True, 1.0),
        ("b", ["a", "b"], False, 2 / 3),
        ("[b, a]", ["a", "b"], True, 1.0),
        ("", ["a"], False, 0.0),
        ("[" * 9000, ["a"], False, 0.0),
    ],
)
def test_answers_are_compared(answer: str, truth: Any, right: bool, f1: float) -> None:
    assert is_right(answer, truth=truth) is right
    assert set_f1(answer, truth=truth) == pytest.approx(f1)


def test_an_answer_written_by_finish_is_right() -> None:
    for truth in ("Oslo", 4, 4.25, ["a b", "c, d"]):
        ending = read_finish(parse_call(finish(truth)).arguments)
        assert ending.answer is not None and is_right(ending.answer, truth=truth)


def test_long_observations_are_cut_as_toolbench_cuts_them() -> None:
    assert cut("x" * 1024, length=1024) == "x" * 1024
    assert cut("x" * 1025, length=1024) == "x" * 1024 + "..."
    assert cut("x" * 5000, length=0) == "x" * 5000
