"""The script for a strategy of one's own: both parts keep their contracts and stay small."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from dyna.configuring import load
from dyna.plugins import check_config
from experiments.studies.continual.settings import plan, read

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "examples" / "my_strategy.py"


def test_the_script_checks_a_strategy_and_a_regularizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    module = importlib.import_module(SCRIPT.stem)
    module.check()
    for name in ("BothEnds", "HalfWay"):
        assert num_lines(name) <= 30
    settings = plan(read("chain_4"), folder=Path("unused")).strategies["reservoir"][0].settings[1:]
    for changes in module.ADDED.values():
        check_config(load(overrides=[*settings, changes.strip("'")]))


def num_lines(name: str) -> int:
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"))
    found = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    return (found.end_lineno or 0) - min(n.lineno for n in [found, *found.decorator_list]) + 1
