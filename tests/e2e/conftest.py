"""One tiny random model with a tokenizer of its own, shared by all runs from end to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.tiny_run import save_tiny_model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_tiny_model(folder)
    return folder
