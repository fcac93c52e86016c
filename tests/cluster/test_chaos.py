"""The most dangerous faults of the matrix, in real processes; `make chaos` runs all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from experiments.chaos.__main__ import make_model, patiently, undisturbed
from experiments.chaos.cells import DANGEROUS, find

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("chaos")
    make_model(place)
    return place


@pytest.mark.parametrize("name", DANGEROUS)
def test_the_run_ends_as_if_nothing_had_been(name: str, folder: Path) -> None:
    cell = find(name)
    expected = undisturbed(model=folder / "model", folder=folder, console=Console())
    verdict = patiently(cell, folder=folder / name.replace(":", "_"), expected=expected)
    assert verdict.problems == []
    assert verdict.hit
