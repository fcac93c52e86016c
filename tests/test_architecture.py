"""The house holds its shape: who may import whom, how long things get, what an import costs."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dyna", "agents", "worldmodels", "experiments")
MAY_IMPORT = {
    "dyna": {"dyna"},
    "agents": {"dyna", "agents"},
    "worldmodels": {"dyna", "worldmodels"},
    "experiments": {"dyna", "agents", "worldmodels", "experiments"},
}
MAX_FILE = 400
MAX_FUNCTION = 60
BANNED_NAMES = {"utils", "util", "common", "misc", "helpers", "helper", "base"}
HEAVY = ("torch", "ray", "transformers", "vllm")
LIGHT_MODULES = (
    "dyna",
    "dyna.types",
    "dyna.protocols",
    "dyna.config",
    "dyna.configuring",
    "dyna.plugins",
    "dyna.siblings",
    "dyna.rollout",
    "dyna.imagination",
    "dyna.replay",
    "dyna.loop",
    "experiments.cli",
)


@cache
def source_files() -> tuple[Path, ...]:
    return tuple(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that an `import` in the tree names, wherever it stands.

    `from a import b` gives `a` and `a.b`.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import of {node.module}"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_imports_follow_the_arrow() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in source_files()
        for name in imported(parsed(path))
        if name.split(".")[0] in PACKAGES
        and name.split(".")[0] not in MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    ]
    assert not wrong


def test_library_code_never_imports_the_tests() -> None:
    wrong = [
        f"{relative(path)} imports {name}"
        for path in source_files()
        for name in imported(parsed(path))
        if name.split(".")[0] == "tests"
    ]
    assert not wrong


def room(module: str) -> str:
    """The first level below the package: `dyna.replay.codec` belongs to `dyna.replay`."""
    return ".".join(module.split(".")[:2])


def test_no_two_rooms_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for path in source_files():
        here = room(module_name(path))
        graph.setdefault(here, set()).update(map(room, modules_imported(path)))
    assert find_cycle(graph) is None


def test_no_two_modules_import_each_other() -> None:
    graph = {module_name(path): modules_imported(path) for path in source_files()}
    assert find_cycle(graph) is None


def modules_imported(path: Path) -> set[str]:
    """Our modules that a file imports; for `from package import module`, the module alone."""
    modules = {module_name(other) for other in source_files()}
    names = {name for name in imported(parsed(path)) if name in modules}
    covered = {name.rpartition(".")[0] for name in names}
    return names - covered


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """A cycle of more than one node, in order; None if there is none."""
    done: set[str] = set()

    def visit(node: str, *, trail: list[str]) -> list[str] | None:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return None
        for target in sorted(graph.get(node, set()) - {node} - set(PACKAGES)):
            found = visit(target, trail=[*trail, node])
            if found:
                return found
        done.add(node)
        return None

    return next((found for node in sorted(graph) if (found := visit(node, trail=[]))), None)


def test_find_cycle_finds_one() -> None:
    assert find_cycle({"a.x": {"a.y"}, "a.y": {"a.z"}, "a.z": {"a.y"}}) == ["a.y", "a.z", "a.y"]
    assert find_cycle({"a.x": {"a.y"}, "a.y": {"a.z"}}) is None


def test_files_are_at_most_400_lines() -> None:
    long = {
        relative(path): lines
        for path in source_files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_FILE
    }
    assert not long


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_are_at_most_60_lines() -> None:
    long = {
        f"{relative(path)}:{function.name}": lines
        for path in source_files()
        for function in functions(parsed(path))
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION
    }
    assert not long


def test_no_file_has_a_name_that_says_nothing() -> None:
    wrong = [
        relative(path)
        for path in source_files()
        if path.stem in BANNED_NAMES or path.parent.name in BANNED_NAMES
    ]
    assert not wrong


def test_every_module_says_what_it_is() -> None:
    assert not [relative(path) for path in source_files() if not ast.get_docstring(parsed(path))]


def test_source_is_ascii() -> None:
    """Word lists, templates and tests of other scripts live in data files or escapes."""
    wrong = [
        f"{relative(path)}:{number}"
        for path in source_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if not line.isascii()
    ]
    assert not wrong


def only_in(library: str, *, allowed: tuple[str, ...]) -> list[str]:
    return sorted(
        {
            relative(path)
            for path in source_files()
            for name in imported(parsed(path))
            if (name == library or name.startswith(f"{library}."))
            and not relative(path).startswith(allowed)
        }
    )


def test_only_the_rllib_room_imports_rllib() -> None:
    assert not only_in("ray.rllib", allowed=("dyna/rllib/",))


def test_only_the_config_door_imports_omegaconf() -> None:
    assert not only_in("omegaconf", allowed=("dyna/config",))


def test_no_pickle_is_read() -> None:
    assert not only_in("pickle", allowed=())
    unsafe = re.compile(r"torch\.load\(|allow_pickle=True|weights_only=False")
    assert not [
        relative(path) for path in source_files() if unsafe.search(path.read_text(encoding="utf-8"))
    ]


def test_library_code_does_not_print() -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in source_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not wrong


def test_no_bare_except_and_no_probing() -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}"
        for path in source_files()
        for node in ast.walk(parsed(path))
        if (isinstance(node, ast.ExceptHandler) and node.type is None)
        or (isinstance(node, ast.Name) and node.id == "hasattr")
    ]
    assert not wrong


def test_tests_do_not_patch_our_own_code() -> None:
    wrong = [
        relative(path)
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for name in imported(parsed(path))
        if name == "unittest.mock" or name.startswith("unittest.mock.")
    ]
    assert not wrong


def test_files_never_mention_the_machine_they_were_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    folders = re.compile(r"(?<![\w./~-])/(work|tmp|home|root|opt)/[\w.-]+")
    wrong = [
        f"{name}: {match.group()}"
        for name in listed.stdout.splitlines()
        if name.endswith((".py", ".md", ".toml", ".yaml", ".txt"))
        and (ROOT / name).is_file()
        and not name.startswith("tests/")
        for match in folders.finditer((ROOT / name).read_text(encoding="utf-8"))
    ]
    assert not wrong


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_the_framework_imports_light(module: str) -> None:
    if not any(module_name(path) == module for path in source_files()):
        pytest.skip(f"{module} does not exist")
    code = (
        f"import sys, {module}\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(', '.join(loaded) or 0)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"import {module} loads {done.stderr.strip()}"


IMPORT_NAMES = {
    "tensorboardX": "tensorboardx",
    "yaml": "omegaconf",
    "gymnasium": "ray",
    "Stemmer": "pystemmer",
    "openenv": "openenv_core",
    "py4j": "scienceworld",
    "fastapi": "openenv_core",
    "uvicorn": "openenv_core",
    "pydantic": "openenv_core",
    "websockets": "openenv_core",
}
"""Imported name to the declared distribution that brings it, where the two differ."""


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    declared = {re.split(r"[^\w-]", text)[0].lower().replace("-", "_") for text in requirements}
    wrong = {
        f"{relative(path)} imports {top}"
        for path in source_files()
        for name in imported(parsed(path))
        if (top := name.split(".")[0]) not in sys.stdlib_module_names | set(PACKAGES)
        and IMPORT_NAMES.get(top, top).lower() not in declared
    }
    assert not wrong


def test_the_pinned_versions_are_exact_and_portable() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert not [line for line in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
