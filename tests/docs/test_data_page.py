"""The page on data can be followed from top to bottom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli import main
from tests.docs.test_examples import ROOT, blocks, named_files, shell_lines

PAGE = ROOT / "docs" / "data.md"


def test_the_page_on_data_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="the dev extra is not installed")
    monkeypatch.chdir(tmp_path)
    for name, text in named_files(PAGE).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    for line in shell_lines(PAGE):
        assert main(line.split()[1:]) == 0, line
    done = subprocess.run(
        [sys.executable, "use_it.py"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": "hf", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "turns to learn from" in done.stdout
    (shown,) = blocks(PAGE, "json")
    written = json.loads((tmp_path / "mix.json").read_text(encoding="utf-8"))
    assert json.loads(shown).keys() == written[0].keys()
    assert [m["role"] for m in json.loads(shown)["messages"]] == [
        message["role"] for message in written[0]["messages"][:3]
    ]
