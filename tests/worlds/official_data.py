"""Where the official data for tests lies: `DYNA_TEST_DATA`, or `../shared/data` beside the clone.

None of it is part of this repository; tests that need a file skip, saying so, where it is missing.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def official(name: str) -> Path:
    """The path of one data file; skips the test where there is none."""
    folder = Path(os.environ.get("DYNA_TEST_DATA") or ROOT.parent / "shared" / "data")
    path = folder / name
    if not path.exists():
        pytest.skip(f"needs {name} in {folder}; set DYNA_TEST_DATA to the folder that holds it")
    return path
