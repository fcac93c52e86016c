"""What worlds need: named once, told in one sentence, and the same as what pip installs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from dyna.envs.catalog import WORLDS, find
from dyna.envs.extras import EXTRAS, MissingExtraError, missing, require, require_java
from dyna.plugins import BUILT_IN

ROOT = Path(__file__).resolve().parents[4]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_extras_are_those_that_pip_installs() -> None:
    published = PROJECT["optional-dependencies"]
    for extra, wanted in EXTRAS.items():
        split = [re.fullmatch(r"([\w.-]+)(.*)", text) for text in published[extra]]
        assert {match[1]: match[2] for match in split if match} == wanted
    everything = re.fullmatch(r"dyna-agents\[(.*)\]", published["worlds"][0])
    assert everything is not None
    assert set(everything[1].split(",")) == set(EXTRAS)


def test_the_catalog_lists_every_built_in_world_once() -> None:
    assert sorted(world.name for world in WORLDS) == sorted(BUILT_IN["environments"])
    assert {world.extra for world in WORLDS} - {""} == set(EXTRAS)
    found = find("webshop")
    assert found is not None
    assert found.extra == "webshop"
    assert find("no such world") is None


def test_what_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {"absent": {"no-such-package": ">=1"}, "other": {"numpy": "<1"}, "here": {"numpy": ""}}
    for extra, wanted in table.items():
        monkeypatch.setitem(EXTRAS, extra, wanted)  # type: ignore[arg-type]
    assert missing("here") == []
    with pytest.raises(MissingExtraError, match="`no-such-package` is not installed") as caught:
        require("absent", world="moon")
    assert 'run: pip install "dyna-agents[absent]"' in str(caught.value)
    with pytest.raises(MissingExtraError, match=r"`numpy` is [\d.]+, <1 is needed"):
        require("other", world="moon")


def test_a_missing_java_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="there is no `java` on PATH; install a Java"):
        require_java(world="moon")
