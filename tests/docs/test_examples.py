"""The pages keep their word: examples run, links lead somewhere, commands exist.

A fenced block whose first line is `# name.ext` is a file. The files of a page are written into one
folder, its `test_*` functions are called, its scripts are run, and its configs are trained.
"""

from __future__ import annotations

import ast
import importlib
import re
import runpy
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from dyna.testing import check_policy
from experiments.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
PLUGIN_PAGES = sorted((ROOT / "docs" / "plugins").glob("*.md"))
TUTORIAL = ROOT / "docs" / "tutorial.md"
TINY = (
    "policy.model.path=./tiny",
    "world_model.model.path=./tiny",
    "rounds=1",
    "real.demonstrations=1",
    "real.explorations=1",
    "real.episodes_per_round=1",
    "imagination.episodes_per_round=2",
    "imagination.group_size=2",
    "imagination.horizon=1",
    "evaluation.num_tasks=1",
    "evaluation.fidelity_episodes=1",
    "world.max_turns=2",
    "policy.max_new_tokens=8",
    "world_model.max_new_tokens=8",
)
"""Changes that let a config for a large model run in seconds with a random one."""
MAX_LINES = {
    "guess.py": 20,
    "curious.py": 30,
    "habit.py": 30,
    "newest.py": 30,
    "won_first.py": 30,
    "slow_copy.py": 30,
}
"""Lines that are not blank; a plug-in must stay small enough to be read at a glance."""

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w.]+\.(?:py|yaml))\n")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks of a language, top to bottom."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


def named_files(page: Path) -> dict[str, str]:
    """The files that a page shows, by name; raises `AssertionError` for a name used twice."""
    files: dict[str, str] = {}
    for text in [*blocks(page, "python"), *blocks(page, "yaml")]:
        if match := _FILE.match(text):
            assert match[1] not in files, f"{name_of(page)} shows two files named {match[1]}"
            files[match[1]] = text
    return files


def shell_lines(page: Path) -> list[str]:
    """Commands of `sh` blocks, one per line; a backslash joins lines and comments are dropped."""
    joined = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    lines = [line.split(" #")[0].strip() for line in joined.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where a page's files are written; what was imported from there is forgotten again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None)
        if origin and Path(origin).is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda page: page.stem)
def test_every_plugin_page_is_a_whole_working_example(page: Path, folder: Path) -> None:
    files = named_files(page)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    checks = [name for name in files if name.startswith("test_")]
    configs = [name for name in files if name.endswith(".yaml")]
    assert checks and configs, "a plug-in page shows a check and a config"
    for name in checks:
        for label, check in vars(importlib.import_module(Path(name).stem)).items():
            if label.startswith("test_"):
                check()
    lines = shell_lines(page)
    for line in lines:
        if line.startswith("python "):
            runpy.run_path(line.split()[1], run_name="__main__")
    for name in configs:
        assert f"PYTHONPATH=. dyna train {name}" in lines, f"the page does not train {name}"
        assert main(["train", name]) == 0
    assert len(list((folder / "runs").glob("*/report.html"))) == len(configs)


def test_the_tutorial_can_be_followed(folder: Path) -> None:
    (folder / "quick.yaml").write_text(named_files(TUTORIAL)["quick.yaml"], encoding="utf-8")
    followed = [line for line in shell_lines(TUTORIAL) if "quick" in line]
    assert {line.split()[1] for line in followed} >= {"config", "train", "report", "resume"}
    for line in followed:
        # Evaluation plays hundreds of episodes; it has tests of its own.
        if not line.startswith("dyna evaluate"):
            assert main(line.split()[1:]) == 0, line
    assert sorted(path.name for path in (folder / "runs").iterdir()) == ["quick-001", "quick-002"]


def test_the_config_for_a_real_language_model_works_with_a_tiny_one(folder: Path) -> None:
    (folder / "qwen.yaml").write_text(named_files(TUTORIAL)["qwen.yaml"], encoding="utf-8")
    exec(named_files(ROOT / "docs" / "plugins" / "algorithm.md")["make_model.py"], {})
    assert main(["train", "qwen.yaml", *TINY]) == 0


@pytest.mark.parametrize("page", PLUGIN_PAGES, ids=lambda page: page.stem)
def test_plugins_stay_small(page: Path) -> None:
    for name, text in named_files(page).items():
        lines = [line for line in text.splitlines()[1:] if line.strip()]
        assert len(lines) <= MAX_LINES.get(name, 60), f"{name} has {len(lines)} lines"
        assert max(map(len, lines)) <= 100, f"{name} has a line of over 100 characters"


def test_every_kind_that_a_config_names_has_its_page() -> None:
    pages = {page.stem for page in PLUGIN_PAGES}
    assert pages == {
        "policy",
        "environment",
        "replay_buffer",
        "regularizer",
        "world_model",
        "algorithm",
    }


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_on_a_page_is_python(page: Path) -> None:
    for text in blocks(page, "python"):
        assert ast.parse(text, filename=name_of(page)).body


def test_the_policy_in_the_readme_keeps_the_contract() -> None:
    names: dict[str, type] = {}
    exec(named_files(ROOT / "README.md")["brief.py"], names)
    check_policy(names["FirstCommand"]())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)} links to {link}, which is not there"
        assert not anchor or anchor in anchors(target), f"{name_of(page)}: no heading for {link}"


def anchors(page: Path) -> set[str]:
    headings = _HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = _TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8"))
    subcommands = known_subcommands(capsys)
    text = page.read_text(encoding="utf-8")
    for line in [*shell_lines(page), *_CODE.findall(_BLOCK.sub("", text))]:
        words = [word for word in line.split() if not re.match(r"[A-Z_]+=", word)]
        if words[:1] == ["make"] and len(words) > 1:
            assert words[1] in targets, f"{name_of(page)} names `{line}`: no such target"
        if words[:1] == ["dyna"] and len(words) > 1:
            command = next((word for word in words[1:] if not word.startswith("-")), "")
            assert command in subcommands, f"{name_of(page)} names `{line}`: no such command"
        if words[:2] == ["python", "-m"] and words[2].split(".")[0] == "experiments":
            assert find_spec(words[2]), f"{name_of(page)} names `{line}`: no such module"


def known_subcommands(capsys: pytest.CaptureFixture[str]) -> set[str]:
    with pytest.raises(SystemExit):
        main(["--help"])
    return set(re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_plain_ascii(page: Path) -> None:
    assert page.read_text(encoding="utf-8").isascii(), f"{name_of(page)} must be ASCII only"
