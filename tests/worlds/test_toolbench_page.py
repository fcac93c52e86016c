"""The examples in ToolBench's page print what the page says, and its figures are the tests'."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from dyna.envs.toolbench import ToolBenchWorld
from dyna.envs.toolbench.catalog import APIS
from dyna.envs.toolbench.problems import SPLITS
from tests.unit.dyna.envs.toolbench_files import write_cache, write_queries

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "worlds" / "toolbench.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(# (\w+\.py)\n.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("code", "name", "output"), EXAMPLES, ids=[e[1] for e in EXAMPLES])
def test_the_examples_print_what_the_page_says(
    code: str, name: str, output: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, name], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_there_are_two_examples() -> None:
    assert [name for _, name, _ in EXAMPLES] == ["asking.py", "reflecting.py"]


def test_the_config_of_the_page_makes_a_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    section = yaml.safe_load(text)["world"]
    monkeypatch.chdir(tmp_path)
    Path("solvable_queries").mkdir()
    write_queries(Path("solvable_queries/test_instruction"))
    write_cache(Path("tool_response_cache"))
    world = ToolBenchWorld(**section["params"])
    assert world.splits == {"train": 0, "test": 24}
    assert world.judge_model == "gpt-4o-2024-11-20"


def test_the_numbers_in_the_page_are_those_of_the_code() -> None:
    assert f"over {len(APIS)} invented APIs" in PAGE
    assert f"the {len({api.category for api in APIS.values()})} categories" in PAGE
    assert all(f"| `{split}` |" in PAGE for split in SPLITS)
