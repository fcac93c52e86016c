"""What imagination buys at equal real budget: four arms, the same starting weights, many seeds.

    python -m experiments.studies.sample_efficiency                # the study, resumable
    python -m experiments.studies.sample_efficiency --tune real_rl # its settings, on other houses

Every arm may spend the same number of real steps, those that train the world model included.
Houses for tuning and for reporting are apart, and every seed trains in houses of its own.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from dyna.evaluation.intervals import student_t
from dyna.files import write_json
from dyna.types import Metrics
from experiments.report.sections import write_section
from experiments.report.study import study_table, write_study_figure
from experiments.studies.jobs import Job, machine, run_jobs

_README_SECTION = "sample-efficiency"
_HOUSES_PER_SEED = 500
"""Train tasks set apart for each seed, more than one run can use."""
_FIRST_TUNING_SEED = 20
"""Seeds from here on are for tuning alone: it never meets the houses of a reported run."""


def read_study() -> dict[str, Any]:
    """The study's settings: `config`, `common`, `arms`, `tuning`, `report`."""
    text = files("experiments.studies").joinpath("sample_efficiency.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def houses(seed: int) -> str:
    """The train tasks set apart for a seed, as a setting."""
    return f"world.first_task={seed * _HOUSES_PER_SEED}"


def entry(job: Job, metrics: Metrics) -> dict[str, Any]:
    """What is reported of one run."""
    return {
        "seed": job.seed,
        "real_steps": round(metrics["ledger/real_steps"]),
        "real_episodes": round(metrics["ledger/real_episodes"]),
        "imagined_steps": round(metrics["ledger/imagined_steps"]),
        "real_success": metrics["eval/real_success"],
        "imagined_success": metrics.get("eval/imagined_success"),
        "model_em": metrics.get("model/em"),
        "win_precision": metrics.get("model/win_precision"),
    }


def report(study: Mapping[str, Any], *, seeds: int, output: Path, parallel: int) -> None:
    """Run every arm on every seed; write the JSON, the figure, and the README's table."""
    console = Console()
    settings = {
        arm: (study["config"], *study["common"], *study["report"], *changes)
        for arm, changes in study["arms"].items()
    }
    jobs = [
        Job(
            arm=arm,
            seed=seed,
            settings=(*chosen, houses(seed)),
            folder=output / "runs" / arm / f"seed{seed}",
        )
        for seed in range(1, seeds + 1)
        for arm, chosen in settings.items()
    ]
    results = run_jobs(jobs, num_parallel=parallel, console=console)
    arms: dict[str, list[dict[str, Any]]] = {arm: [] for arm in settings}
    for job, metrics in zip(jobs, results, strict=True):
        arms[job.arm].append(entry(job, metrics))
    intervals = {
        arm: student_t([run["real_success"] for run in runs]) for arm, runs in arms.items()
    }
    verdict = {
        f"dyna_over_{arm}": intervals["dyna"].low > intervals[arm].high
        for arm in ("filtered_bc", "real_rl")
    }
    result = output / "sample_efficiency.json"
    config = {"seeds": list(range(1, seeds + 1)), "settings": settings, "machine": machine()}
    write_json(result, value={"config": config, "arms": arms, "intervals_apart": verdict})
    figure = output / "sample_efficiency.svg"
    write_study_figure(result, figure)
    write_between_markers(Path("README.md"), text=readme_text(result, figure=figure))
    console.print(study_table(result))
    console.print(verdict)


def tune(study: Mapping[str, Any], *, arm: str, seeds: int, output: Path, parallel: int) -> None:
    """Try the arm's listed settings on the tuning houses; write them all, the best first."""
    console = Console()
    tried: list[tuple[list[str], list[Job]]] = []
    for index, changes in enumerate(study["tuning"][arm]):
        chosen = (study["config"], *study["common"], *study["arms"][arm], *changes)
        folder = output / "tuning" / arm / str(index)
        jobs = [
            Job(
                arm=arm,
                seed=_FIRST_TUNING_SEED + seed,
                settings=(*chosen, houses(_FIRST_TUNING_SEED + seed)),
                folder=folder / f"seed{seed}",
            )
            for seed in range(seeds)
        ]
        tried.append((changes, jobs))
    flat = [job for _, jobs in tried for job in jobs]
    results = dict(zip(flat, run_jobs(flat, num_parallel=parallel, console=console), strict=True))
    rows = [
        {
            "changes": changes,
            "real_success": [results[job]["eval/real_success"] for job in jobs],
            "mean": sum(results[job]["eval/real_success"] for job in jobs) / len(jobs),
        }
        for changes, jobs in tried
    ]
    rows.sort(key=lambda row: row["mean"], reverse=True)
    write_json(output / f"tuning_{arm}.json", value=rows)
    for row in rows:
        console.print(f"{row['mean']:.3f}", row["real_success"], row["changes"])


def readme_text(result: Path, *, figure: Path) -> str:
    """The figure, its caption, and the table."""
    study = json.loads(result.read_text(encoding="utf-8"))
    seeds = study["config"]["seeds"]
    caption = (
        f"Mean and 95% interval over {len(seeds)} seeds ({seeds[0]} to {seeds[-1]}), each on 200 "
        "held-out houses after at most 1,500 real steps, demonstrations and the model's own "
        f"training data included; {study['config']['machine']}."
    )
    title = "Real success at equal real budget"
    return f"![{title}]({figure.as_posix()})\n\n{caption}\n\n{study_table(result)}"


def write_between_markers(path: Path, *, text: str) -> None:
    """Replace what stands between the markers; a file without them is left alone."""
    write_section(path, name=_README_SECTION, text=text)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--tune", metavar="ARM", help="try the arm's listed settings instead")
    arguments = parser.parse_args()
    study = read_study()
    if arguments.tune:
        tune(
            study,
            arm=arguments.tune,
            seeds=arguments.seeds,
            output=arguments.output,
            parallel=arguments.parallel,
        )
    else:
        report(study, seeds=arguments.seeds, output=arguments.output, parallel=arguments.parallel)


if __name__ == "__main__":
    main()
