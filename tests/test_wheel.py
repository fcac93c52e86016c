"""The wheel holds our four packages whole, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"dyna", "agents", "worldmodels", "experiments"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    # The backend itself, without the isolated environment that `build` would download.
    code = "import sys, hatchling.build as backend; print(backend.build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


def test_the_top_level_names_are_exactly_ours(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert tops == PACKAGES | {"dyna_agents-0.1.0.dist-info"}


def test_every_module_and_data_file_is_in(wheel: zipfile.ZipFile) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--", *sorted(PACKAGES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    expected = {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}
    assert expected <= set(wheel.namelist())
    assert "dyna/py.typed" in expected
    assert "experiments/configs/household.yaml" in expected


def test_there_is_nothing_to_be_ashamed_of(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert not [name for name in names if name.split("/")[-1].startswith("test_")]
    data = [entry for entry in wheel.infolist() if not entry.filename.endswith(".py")]
    assert sum(entry.file_size for entry in data) <= 16 * 2**20


def test_the_metadata_is_complete(wheel: zipfile.ZipFile) -> None:
    info = "dyna_agents-0.1.0.dist-info"
    metadata = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
    assert metadata["Name"] == "dyna-agents"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert wheel.read(f"{info}/entry_points.txt").decode().split() == [
        "[console_scripts]",
        "dyna",
        "=",
        "experiments.cli:main",
    ]


def test_the_version_is_said_once(wheel: zipfile.ZipFile) -> None:
    assert '__version__ = "0.1.0"' in wheel.read("dyna/__init__.py").decode()
