"""`python -m experiments.bench`: every figure of docs/benchmarks.md, measured in one run."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from dyna.envs.household.benchmark import measure_env_steps_per_second, measure_steps_per_second
from dyna.files import write_json
from experiments.bench.engine import bench_engine_vs_generate_batch, bench_engine_vs_generate_turns
from experiments.bench.imagination import bench_imagination_overhead
from experiments.bench.memory import bench_train_peak_rss
from experiments.bench.training import bench_training_vs_trainer
from experiments.report.sections import write_section

_GOALS = {
    "engine_vs_generate_turns": (">=", 1.5),
    "engine_vs_generate_batch": (">=", 0.9),
    "imagination_overhead": ("<=", 0.15),
    "training_vs_trainer": (">=", 1.0),
    "padding_waste": ("<=", 0.10),
    "train_peak_rss_gib": ("<=", 3.0),
    "train_wall_s": ("<=", 360.0),
    "household_steps_per_s": (">=", 20_000.0),
}


def measure(*, console: Console) -> dict[str, Any]:
    """Run every benchmark; figures by name, and what each benchmark says of itself."""
    turns = _run("engine, turn by turn", bench_engine_vs_generate_turns, console=console)
    batch = _run("engine, one batch", bench_engine_vs_generate_batch, console=console)
    imagination = _run("imagination", bench_imagination_overhead, console=console)
    training = _run("training", bench_training_vs_trainer, console=console)
    household = _run("household", measure_steps_per_second, console=console)
    memory = _run("the demo", bench_train_peak_rss, console=console)
    return {
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        "figures": {
            "engine_vs_generate_turns": turns["ratio"],
            "engine_vs_generate_batch": batch["ratio"],
            "imagination_overhead": imagination["imagination_overhead"],
            "training_vs_trainer": training["training_vs_trainer"],
            "padding_waste": training["padding_waste"],
            "train_peak_rss_gib": memory["train_peak_rss_gib"],
            "train_wall_s": memory["train_wall_s"],
            "household_steps_per_s": household["time/steps_per_s"],
            "household_env_steps_per_s": measure_env_steps_per_second(),
        },
        "details": {
            "engine_turns": turns,
            "engine_batch": batch,
            "imagination": imagination,
            "training": training,
            "household": household,
        },
    }


def to_markdown(result: dict[str, Any]) -> str:
    """The first table of `docs/benchmarks.md`."""
    machine = result["machine"]
    lines = [
        f"Machine: {machine['cores']} cores ({machine['processor']}), {machine['threads']} thread "
        f"per process, torch {machine['torch']}, no GPU. Seeds are in `results/bench.json`.",
        "",
        "| figure | measured | goal | |",
        "|---|---|---|---|",
    ]
    for name, value in result["figures"].items():
        sign, goal = _GOALS.get(name, ("", None))
        met = goal is None or (value >= goal if sign == ">=" else value <= goal)
        wanted = "" if goal is None else f"{sign} {goal:g}"
        verdict = "" if goal is None else ("met" if met else "**missed**")
        lines.append(f"| `{name}` | {value:.3g} | {wanted} | {verdict} |")
    return "\n".join(lines)


def _run(name: str, bench: Callable[[], Any], *, console: Console) -> Any:
    console.print(f"measuring: {name}")
    return bench()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    result = measure(console=console)
    (arguments.docs / "results").mkdir(parents=True, exist_ok=True)
    write_json(arguments.docs / "results" / "bench.json", value=result)
    page = to_markdown(result)
    write_section(arguments.docs / "benchmarks.md", name="bench", text=page)
    console.print(page)


if __name__ == "__main__":
    main()
