"""Peak memory of the demo, all its processes together."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def bench_train_peak_rss(*, interval_s: float = 0.2) -> dict[str, float]:
    """Run `dyna train household` to its end; the largest sum of its processes' resident memory.

    Shared pages count once per process, so this is an upper bound.
    """
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "experiments.cli",
                "train",
                "household",
                "--run",
                f"{folder}/run",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident_bytes(process.pid))
            time.sleep(interval_s)
        if process.returncode:
            raise RuntimeError(f"dyna train household ended with {process.returncode}")
        if not (Path(folder) / "run" / "report.html").exists():
            raise RuntimeError("dyna train household wrote no report")
    return {
        "train_peak_rss_gib": peak / 2**30,
        "train_wall_s": time.monotonic() - began,
    }


def _resident_bytes(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
