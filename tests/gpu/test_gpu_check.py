"""The whole check list on this machine's GPU; `make gpu-check` writes what it finds."""

from __future__ import annotations

import pytest
import torch

from experiments.gpu_check.__main__ import run_apart
from experiments.gpu_check.checks import CHECKS
from experiments.gpu_check.findings import Status
from experiments.gpu_check.subjects import Bench, Size

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", list(CHECKS))
def test_a_check_passes(name: str) -> None:
    found = run_apart(name, bench=Bench(device=torch.device("cuda"), size=Size.FULL))
    if found["status"] == Status.SKIPPED:
        pytest.skip(found["note"])
    assert found["status"] == Status.PASS, found
