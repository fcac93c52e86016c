"""The GPU check list without a GPU: its paths at tiny size, and what it then says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

from experiments.gpu_check.__main__ import run_apart, run_here, run_list
from experiments.gpu_check.checks import CHECKS
from experiments.gpu_check.findings import Finding, Status
from experiments.gpu_check.page import to_markdown
from experiments.gpu_check.subjects import Bench, Size, make_model

TINY = Bench(device=torch.device("cpu"), size=Size.TINY)
WITHOUT_VLLM = [name for name in CHECKS if "vllm" not in name]


@pytest.mark.parametrize("name", WITHOUT_VLLM)
def test_every_check_runs_small_on_a_cpu(name: str) -> None:
    found = run_here(name, bench=TINY)
    assert found["status"] == Status.PASS, found
    assert found["measured"] >= 0


def test_a_random_model_has_the_shape_that_the_arithmetic_counts() -> None:
    for name in ("0.5b", "7b"):
        shape = TINY.shape(name)
        model = make_model(shape, device=TINY.device)
        assert model.num_parameters() == shape.parameters
        assert model.dtype == torch.bfloat16


def test_a_ratio_below_its_goal_is_a_miss() -> None:
    slow = Finding(measured=4.0, unit="tokens/s", bound=10.0, goal=0.5)
    assert (slow.ratio, slow.status) == (0.4, Status.MISS)
    assert Finding(measured=6.0, unit="tokens/s", bound=10.0, goal=0.5).status is Status.PASS
    assert Finding(measured=1.0, unit="s").status is Status.PASS
    assert Finding(measured=1.0, unit="s", passed=False).status is Status.MISS


def test_a_check_that_breaks_is_told_and_the_list_goes_on(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "gpu.md").write_text("<!-- gpu-check:begin -->\n<!-- gpu-check:end -->\n")
    nowhere = Bench(device=torch.device("cuda", 63), size=Size.TINY)
    broken = run_apart("device", bench=nowhere)
    assert broken["status"] == Status.FAILED
    assert broken["note"]
    result = run_list(["device"], bench=TINY, docs=tmp_path, console=Console(quiet=True))
    assert result["checks"]["device"]["status"] == Status.PASS
    kept = json.loads((tmp_path / "results" / "gpu_check.json").read_text())
    assert kept["checks"]["device"]["status"] == Status.PASS
    assert kept["checks"]["training-7b"]["status"] == Status.NOT_RUN
    page = (tmp_path / "gpu.md").read_text()
    assert to_markdown(kept) in page
    assert "| training, 7B, every weight | not run |" in page


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_keeps_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "gpu.md").write_text("<!-- gpu-check:begin -->\n<!-- gpu-check:end -->\n")
    command = [sys.executable, "-m", "experiments.gpu_check", "--docs", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "needs a GPU" in done.stderr
    results = tmp_path / "results" / "gpu_check.json"
    found = json.loads(results.read_text())
    assert {check["status"] for check in found["checks"].values()} == {"not run"}
    assert "No machine with a GPU has run it yet." in (tmp_path / "gpu.md").read_text()
    found["machine"] = {"device": "kept"}
    results.write_text(json.dumps(found))
    subprocess.run(command, capture_output=True)
    assert json.loads(results.read_text())["machine"] == {"device": "kept"}
