"""Parsers find the command, and never raise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.parsers import Parser, parse_plain, parse_react, parse_toolbench
from dyna.plugins import resolve


@pytest.mark.parametrize(
    ("text", "command"),
    [("look", "look"), ("  \n go to shelf 1 \nthen", "go to shelf 1"), ("", ""), (" \n\t", "")],
)
def test_plain_takes_the_first_line(text: str, command: str) -> None:
    assert parse_plain(text) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("Thought: the mug is dirty.\nAction: go to sink 1", "go to sink 1"),
        ("action:look ", "look"),
        ("Action: look\nHm.\nAction: inventory\n", "inventory"),
        ("Action:\nlook", ""),
        ("go to sink 1", ""),
        ("My Action: none", ""),
    ],
)
def test_react_takes_the_last_action_line(text: str, command: str) -> None:
    assert parse_react(text) == command


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("Thought: ask.\nAction: find\nAction Input: {}", "Action: find\nAction Input: {}"),
        ("Action: a\nAction: b\nAction Input: {\n}\n", "Action: b\nAction Input: {\n}"),
        ('Hm.\n Action: find {"x": 1}', 'Action: find {"x": 1}'),
        ("find", ""),
    ],
)
def test_toolbench_keeps_the_lines_of_the_input(text: str, command: str) -> None:
    assert parse_toolbench(text) == command


@pytest.mark.parametrize("parser", [parse_plain, parse_react])
@given(text=st.text())
def test_any_text_gives_one_stripped_line(parser: Parser, text: str) -> None:
    command = parser(text)
    assert command == command.strip()
    assert "\n" not in command


def test_parsers_have_names() -> None:
    assert resolve("parsers", "plain") is parse_plain
    assert resolve("parsers", "react") is parse_react
