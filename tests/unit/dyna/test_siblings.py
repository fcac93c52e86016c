"""The guard names whoever else owns one of our package names, in every way that can happen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dyna.siblings import SIBLINGS

ROOT = Path(__file__).resolve().parents[3]
CHECK = "from dyna.siblings import check_siblings; check_siblings()"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the fronts of the four packages and the guard, as an installation has them."""
    home = tmp_path / "home"
    for name in SIBLINGS:
        (home / name).mkdir(parents=True)
        (home / name / "__init__.py").write_text("")
    shutil.copy(ROOT / "dyna" / "siblings.py", home / "dyna")
    return home


def install(folder: Path, *, distribution: str, package: str) -> None:
    """What an installer leaves: the metadata that says which package a distribution brought."""
    info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{package}/__init__.py,,\n{info.name}/METADATA,,\n")
    (folder / package).mkdir(exist_ok=True)
    (folder / package / "__init__.py").touch()


def complaint(*path: Path) -> str:
    """The last line that the guard says with this search path; empty when it is content."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", CHECK],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        cwd=path[0].parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (not done.stderr)
    return done.stderr.strip().splitlines()[-1] if done.stderr else ""


def test_the_checkout_itself_is_clean() -> None:
    assert complaint(ROOT) == ""


def test_our_own_installation_is_clean(home: Path) -> None:
    install(home, distribution="dyna-agents", package="agents")
    assert complaint(home) == ""


def test_a_foreign_distribution_later_on_the_path_is_named(home: Path, tmp_path: Path) -> None:
    install(tmp_path / "site", distribution="openai-agents", package="agents")
    said = complaint(home, tmp_path / "site")
    assert "`agents` is also installed by openai-agents" in said
    assert "pip uninstall openai-agents" in said


def test_a_foreign_distribution_mixed_into_our_folder_is_named(home: Path) -> None:
    install(home, distribution="openai-agents", package="agents")
    assert "`agents` is also installed by openai-agents" in complaint(home)


def test_a_shadowing_folder_is_named(home: Path, tmp_path: Path) -> None:
    shadow = tmp_path / "elsewhere" / "experiments"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").touch()
    said = complaint(shadow.parent, home)
    assert f"`experiments` must come from {home}, but Python finds {shadow}" in said


def test_a_shadowing_script_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "agents.py").touch()
    assert "agents.py first" in complaint(tmp_path / "scripts", home)


@pytest.mark.parametrize("name", ["agents", "worldmodels", "experiments"])
def test_a_package_that_lost_its_front_is_named(name: str, home: Path) -> None:
    (home / name / "__init__.py").unlink()
    said = complaint(home)
    assert f"`{name}` was not found in {home}" in said
    assert "lost its __init__.py" in said


def test_a_missing_package_is_named(home: Path) -> None:
    shutil.rmtree(home / "worldmodels")
    assert "`worldmodels` was not found" in complaint(home)


def test_a_checkout_folder_of_our_name_does_no_harm(home: Path, tmp_path: Path) -> None:
    """A folder `dyna` without `__init__.py`, as `git clone` makes it, gives way to the package."""
    (tmp_path / "projects" / "dyna").mkdir(parents=True)
    assert complaint(tmp_path / "projects", home) == ""
