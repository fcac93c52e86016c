"""`experiments/train.py` alone in a home, as `ray submit` leaves it there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.train import main, on_cluster

SCRIPT = Path(__file__).resolve().parents[3] / "experiments" / "train.py"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copy(SCRIPT, tmp_path)
    return tmp_path


def submitted(home: Path, *arguments: str, installed: bool = True) -> tuple[int, str]:
    """Exit status and words of the script, run as `ray submit` runs it."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if installed:
        kept["PYTHONPATH"] = str(SCRIPT.parent.parent)
    without = () if installed else ("-S",)  # an editable installation would be found without it
    done = subprocess.run(
        [sys.executable, *without, "train.py", *arguments],
        cwd=home, env={**kept, "HOME": str(home)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_alone_in_a_home_it_plans_and_explains(home: Path) -> None:
    (home / "experiments").mkdir()  # a folder of that name is not a package, and nobody minds
    code, said = submitted(home, "household", "--dry-run")
    assert code == 0 and "Traceback" not in said, said
    code, said = submitted(home, "--help")
    assert code == 0 and "runtime.backend=rllib" in said


def test_missing_packages_are_told_with_the_remedy(home: Path) -> None:
    code, said = submitted(home, "household", installed=False)
    assert code == 2 and "dyna-agents is not installed for" in said, said
    assert "pip install -c constraints.txt ." in said and "Traceback" not in said


def test_a_foreign_dyna_is_named(home: Path) -> None:
    (home / "dyna").mkdir()
    (home / "dyna" / "__init__.py").touch()
    (home / "train.py").rename(home / "dyna" / "train.py")
    done = subprocess.run(
        [sys.executable, "-S", "dyna/train.py", "household"],
        cwd=home, env={**os.environ, "PYTHONPATH": str(home)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and f"{home}/dyna is not dyna-agents" in done.stderr, done.stderr


def test_a_package_that_workers_would_find_first_is_refused(home: Path) -> None:
    (home / "agents").mkdir()
    (home / "agents" / "__init__.py").touch()
    code, said = submitted(home, "household", "--dry-run")
    assert code == 2 and f"Ray's workers would take the package `agents` from {home}" in said, said


def test_defaults_of_a_cluster_stand_back_behind_what_is_said(tmp_path: Path) -> None:
    added = on_cluster(["household", "rounds=1"], home=tmp_path)[2:]
    assert added == [
        "runtime.address=auto", "runtime.backend=rllib", f"output={tmp_path / 'runs'}",
    ]  # fmt: skip
    said = ["household", "runtime.backend=local", "runtime.address=10.0.0.1:6379", "output=/data"]
    assert on_cluster(said, home=tmp_path) == said


def test_a_mistake_is_told_by_dyna_train(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["household", "roundz=1"]) == 2
    assert "did you mean `rounds`?" in capsys.readouterr().err
