"""Parts by name: built in, published by a package, or spelled out; errors name the nearest."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dyna.config import PluginConfig, RunConfig
from dyna.plugins import (
    BUILT_IN,
    KINDS,
    PluginError,
    build,
    check_config,
    check_name,
    list_plugins,
    resolve,
)
from dyna.types import Task

ROOT = Path(__file__).resolve().parents[3]

PART = """
class Cautious:
    def __init__(self, *, engine, temperature=1.0):
        self.engine, self.temperature = engine, temperature

class Greedy:
    def __init__(self, **everything):
        self.everything = everything

def plain():
    return "made"

class Outer:
    class Inner:
        pass
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `mylab` on the path, as a user has it."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").touch()
    (tmp_path / "mylab" / "parts.py").write_text(PART)
    (tmp_path / "mylab" / "broken.py").write_text("import a_library_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
        del sys.modules[name]


def publish(folder: Path, *, distribution: str, group: str, line: str) -> None:
    info = folder / f"{distribution}-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[dyna.{group}]\n{line}\n")


@dataclass(frozen=True, kw_only=True)
class Ask:
    name: str
    params: dict[str, Any]


def said(kind: str, name: str) -> str:
    with pytest.raises(PluginError) as caught:
        resolve(kind, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names]
)
def test_every_built_in_name_stands_for_a_part(kind: str, name: str) -> None:
    assert callable(resolve(kind, name))


def test_a_spelled_out_name_needs_no_table(lab: Path) -> None:
    assert resolve("policies", "mylab.parts:Cautious").__name__ == "Cautious"
    assert resolve("policies", "mylab.parts:Outer.Inner").__name__ == "Inner"
    assert resolve("parsers", "dyna.types:Task") is Task


def test_a_published_name_is_found_and_says_where_it_comes_from(lab: Path) -> None:
    publish(lab, distribution="mylab", group="policies", line="cautious = mylab.parts:Cautious")
    assert resolve("policies", "cautious").__name__ == "Cautious"
    [plugin] = [plugin for plugin in list_plugins() if plugin.name == "cautious"]
    assert (plugin.target, plugin.origin) == ("mylab.parts:Cautious", "mylab 2.0")


def test_listing_imports_none_of_the_parts() -> None:
    code = (
        "import sys; from dyna.plugins import list_plugins\n"
        "kinds = {plugin.kind for plugin in list_plugins()}\n"
        "sys.exit('agents' in sys.modules or len(kinds) != 8)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
    assert {plugin.kind for plugin in list_plugins()} == set(KINDS)


@pytest.mark.parametrize("name", ["llm", "cautious"])
def test_a_name_published_twice_is_refused(name: str, lab: Path) -> None:
    publish(lab, distribution="mylab", group="policies", line=f"{name} = mylab.parts:Cautious")
    publish(lab, distribution="other", group="policies", line=f"{name} = mylab.parts:Greedy")
    message = said("policies", name)
    assert f"policies `{name}` is published" in message
    assert "mylab 2.0" in message
    assert "other 2.0" in message


def test_an_unknown_name_gets_the_nearest() -> None:
    assert "policies `noisy_expret` is unknown; did you mean `noisy_expert`?" in said(
        "policies", "noisy_expret"
    )
    assert "known: household, corridor" in said("environments", "zzz")
    with pytest.raises(PluginError, match="unknown kind of plug-in `policy`"):
        resolve("policy", "llm")


def test_a_wrong_path_says_which_part_of_it(lab: Path) -> None:
    assert "there is no package `nolab`" in said("policies", "nolab.parts:Cautious")
    assert "there is no module `mylab.prts`" in said("policies", "mylab.prts:Cautious")
    assert "has no `Cautios`; did you mean `Cautious`?" in said("policies", "mylab.parts:Cautios")
    for name in ("mylab.parts:", ":Cautious", "my lab:Cautious", "mylab..parts:X", "../x:Y"):
        assert "must read `package.module:Name`" in said("policies", name)


def test_an_import_that_fails_inside_a_part_is_not_mistaken_for_a_wrong_name(lab: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_library_nobody_has"):
        resolve("policies", "mylab.broken:Part")


def test_a_part_takes_what_it_names_of_what_is_offered(lab: Path) -> None:
    config = PluginConfig(name="mylab.parts:Cautious", params={"temperature": 0.5})
    part = build("policies", config, engine="the engine", renderer="the renderer")
    assert (part.engine, part.temperature) == ("the engine", 0.5)
    everything = build("policies", PluginConfig(name="mylab.parts:Greedy"), engine=1, seed=2)
    assert everything.everything == {"engine": 1, "seed": 2}
    assert build("parsers", PluginConfig(name="mylab.parts:plain"), seed=2) == "made"


def test_params_come_before_what_is_offered(lab: Path) -> None:
    config = PluginConfig(name="mylab.parts:Cautious", params={"engine": "mine"})
    assert build("policies", config, engine="offered").engine == "mine"


def test_any_config_section_with_name_and_params_can_be_built(lab: Path) -> None:
    assert build("policies", Ask(name="mylab.parts:Cautious", params={"engine": 3})).engine == 3


def test_unknown_and_missing_params_are_refused(lab: Path) -> None:
    wrong = PluginConfig(name="mylab.parts:Cautious", params={"temprature": 1})
    with pytest.raises(PluginError, match="no parameter `temprature`; did you mean `temperature`"):
        build("policies", wrong, engine=1)
    with pytest.raises(PluginError, match="needs `engine`: set it in its params"):
        build("policies", PluginConfig(name="mylab.parts:Cautious"), renderer=1)
    with pytest.raises(PluginError, match="has no parameter `x`; it takes: none"):
        build("parsers", PluginConfig(name="mylab.parts:plain", params={"x": 1}))


def test_all_names_of_a_config_are_checked_before_anything_is_imported() -> None:
    check_config(RunConfig())
    config = RunConfig()
    for wrong in (
        replace(config, world=replace(config.world, name="househld")),
        replace(config, policy=replace(config.policy, parser="plian")),
        replace(config, real=replace(config.real, exploration=PluginConfig(name="nosy_expert"))),
        replace(config, engine=replace(config.engine, name="transformer")),
    ):
        with pytest.raises(PluginError, match="did you mean"):
            check_config(wrong)


def test_checking_a_name_returns_what_it_stands_for() -> None:
    assert check_name("replay_buffers", "fifo") == BUILT_IN["replay_buffers"]["fifo"]
