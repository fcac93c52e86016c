"""The examples in the pages of the two doors print what the pages say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE = re.compile(r"```python\n(# (\w+\.py)\n.*?)```\n\n```text\n(.*?)```", re.DOTALL)


def examples(page: str) -> list[tuple[str, str, str]]:
    """The name, code and output of each example of a page."""
    text = (ROOT / "docs" / "worlds" / page).read_text(encoding="utf-8")
    return [(name, code, output) for code, name, output in _EXAMPLE.findall(text)]


def run_example(name: str, code: str, *, folder: Path) -> str:
    (folder / name).write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    done = subprocess.run(
        [sys.executable, name], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "code", "output"), examples("gymnasium.md"), ids=lambda value: value[:12]
)
def test_the_examples_with_gymnasium_print_what_the_page_says(
    name: str, code: str, output: str, tmp_path: Path
) -> None:
    assert run_example(name, code, folder=tmp_path) == output


def test_the_example_with_openenv_prints_what_the_page_says(tmp_path: Path) -> None:
    pytest.importorskip("openenv", reason="the openenv extra is not installed")
    from tests.worlds.openenv_server import process, url_of, world_at

    [(name, code, output)] = examples("openenv.md")
    page = (ROOT / "docs" / "worlds" / "openenv.md").read_text(encoding="utf-8")
    [served] = re.findall(r"^dyna serve (household .*) --port 8000$", page, re.MULTILINE)
    with process("-m", "experiments.serve", *served.split(), "--port", "0") as started:
        url = url_of(started)
        assert world_at(url).name == "household"
        here = code.replace("http://127.0.0.1:8000", url)
        assert here != code
        assert run_example(name, here, folder=tmp_path) == output
