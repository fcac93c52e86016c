"""`python -m experiments.studies.continual chain_4`: learn one thing after another, many ways.

    python -m experiments.studies.continual chain_8                    # all of it; resumable
    python -m experiments.studies.continual chain_8 --strategies none,dual --seeds 2
    python -m experiments.studies.continual my_study.yaml              # settings of one's own
    python -m experiments.studies.continual chain_4 --add mine="replay.name=mylab.replay:Mine"
    python -m experiments.studies.continual chain_4 --smoke            # minutes, as a test

Strategies that are done are read, not run again; one that is added gets its row in the table.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dyna.files import read_json, write_json
from dyna.tracking import read_metrics
from dyna.types import Metrics
from experiments.studies.continual.page import summary_table, write_page
from experiments.studies.continual.results import MODEL_MEASURES, POLICY, entry, none_if_nan, scores
from experiments.studies.continual.settings import Runs, Study, available, plan, read
from experiments.studies.continual.words import study_model
from experiments.studies.jobs import Job, machine, run_jobs


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    console = Console()
    study = _chosen(read(options.study), options=options)
    output: Path = options.output
    folder: Path = (options.runs or output / "runs") / study.name
    model = study_model(study, folder=folder, console=console)
    runs = plan(study, folder=folder, changes=[*model, *(study.smoke if options.smoke else [])])
    run_jobs(runs.all, num_parallel=options.parallel, console=console)
    result = output / f"{study.name}.json"
    collect(study, runs=runs, result=result)
    console.print(summary_table(result))
    if options.docs:
        write_page(options.docs, results=output)


def collect(study: Study, *, runs: Runs, result: Path) -> None:
    """Write what all strategies came to: `<name>.json` holds for each a list, one entry for each
    seed; `<name>.study.json` what they were and what frames them."""
    tasks = [str(entry["name"]) for entry in study.experiences]
    frame_path = result.with_suffix(".study.json")
    found, frame = _read(result), _read(frame_path)
    references: dict[str, Any] = {
        "before": [_reference(job, tasks=tasks) for job in runs.before],
        "joint": [_reference(job, tasks=tasks) for job in runs.joint],
        "alone": _alone(runs.alone, tasks=tasks),
    }
    # A call without references, or of a few strategies, leaves what an earlier one measured.
    earlier = frame.get("references", {})
    references = {name: rows or earlier.get(name, []) for name, rows in references.items()}
    before = {row["seed"]: _untrained(row, tasks=tasks) for row in references["before"]}
    for name, jobs in runs.strategies.items():
        found[name] = [
            entry(job.folder, seed=job.seed, tasks=tasks, before=before.get(job.seed, {}))
            for job in jobs
        ]
    named = {**frame.get("study", {}).get("strategies", {}), **study.strategies}
    write_json(result, value=found)
    write_json(
        frame_path,
        value={
            "study": asdict(replace(study, strategies=named)),
            "tasks": tasks,
            "machine": machine(),
            "references": references,
        },
    )


def _untrained(row: Mapping[str, Any], *, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """By measure and task."""
    return {
        measure: {
            task: math.nan if value is None else value
            for task, value in zip(tasks, row[measure], strict=True)
        }
        for measure in (*MODEL_MEASURES, POLICY)
    }


def _read(result: Path) -> dict[str, Any]:
    """What an earlier call wrote."""
    return dict(read_json(result)) if result.exists() else {}


def _reference(job: Job, *, tasks: Sequence[str]) -> dict[str, Any]:
    return {"seed": job.seed} | {
        measure: [none_if_nan(value) for value in _final(job, measure, tasks)]
        for measure in (*MODEL_MEASURES, POLICY)
    }


def _alone(rows: Mapping[str, Sequence[Job]], *, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """By seed, every task's score where it was all that was learned."""
    if not rows:
        return []
    return [
        {"seed": jobs[0].seed}
        | {
            measure: [
                none_if_nan(_final(job, measure, [task])[0])
                for task, job in zip(tasks, jobs, strict=True)
            ]
            for measure in (*MODEL_MEASURES, POLICY)
        }
        for jobs in zip(*(rows[task] for task in tasks), strict=True)
    ]


def _final(job: Job, measure: str, tasks: Sequence[str]) -> tuple[float, ...]:
    metrics: Metrics = read_metrics(job.folder)[-1][1]
    return scores(metrics, measure=measure, tasks=tasks)


def _chosen(study: Study, *, options: argparse.Namespace) -> Study:
    strategies = dict(study.strategies)
    for text in options.add:
        name, _, settings = text.partition("=")
        strategies[name] = shlex.split(settings)
    if options.strategies:
        wanted = [*options.strategies.split(","), *(text.partition("=")[0] for text in options.add)]
        unknown = [name for name in wanted if name not in strategies]
        if unknown:
            raise SystemExit(
                f"there is no strategy {unknown[0]!r}; there are {', '.join(strategies)}"
            )
        strategies = {name: strategies[name] for name in wanted}
    seeds = study.seeds[: options.seeds] if options.seeds else study.seeds
    references = [] if options.no_references else study.references
    # What a test came to must never stand in the place of a result.
    name = f"{study.name}_smoke" if options.smoke else study.name
    return replace(study, name=name, strategies=strategies, seeds=seeds, references=references)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.studies.continual",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", help=f"{', '.join(available())}, or a YAML file")
    parser.add_argument("--strategies", default="", help="only these, with commas between")
    parser.add_argument(
        "--add", action="append", default=[], metavar="NAME=SETTINGS", help="one more strategy"
    )
    parser.add_argument("--seeds", type=int, default=0, help="only the first of the study's seeds")
    parser.add_argument("--no-references", action="store_true", help="neither joint nor alone")
    parser.add_argument("--smoke", action="store_true", help="as small as the study allows")
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1, help="runs at once")
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--runs", type=Path, help="where the runs are kept; by default in OUTPUT")
    parser.add_argument("--docs", type=Path, help="write the tables and figures into this page")
    return parser


if __name__ == "__main__":
    main()
