"""How much of an agent's practice should be real: a sweep of the real ratio under Ray Tune.

    python -m experiments.studies.real_ratio --output runs  # the sweep; run again to go on
    python -m experiments.studies.real_ratio runtime.address=auto  # its trials on a cluster

The settings are in `real_ratio.yaml`, the definition of the ratio too. Trials that are behind are
stopped by ASHA, so a row that played fewer rounds was worse than others after as many.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from dyna.config import RunConfig
from dyna.configuring import load
from dyna.files import write_json
from experiments.report.sections import write_section
from experiments.usage import find_config

NAME = "real_ratio"
Row = dict[str, Any]


def read_study() -> dict[str, Any]:
    return yaml.safe_load(files("experiments.studies").joinpath(f"{NAME}.yaml").read_text("utf-8"))


def base(study: Mapping[str, Any], *, changes: Sequence[str] = ()) -> RunConfig:
    return load(find_config(study["config"]), overrides=[*study["settings"], *changes])


def arms(study: Mapping[str, Any]) -> list[dict[str, int]]:
    """One mapping of changes for each ratio and seed; real and imagined change together."""
    total = study["episodes_per_round"]
    return [
        {
            "real.episodes_per_round": round(ratio * total),
            "imagination.episodes_per_round": total - round(ratio * total),
            "seed": seed,
            "world.first_task": seed * study["houses_per_seed"],
        }
        for seed in study["seeds"]
        for ratio in study["ratios"]
    ]


def sweep(
    study: Mapping[str, Any], *, config: RunConfig, output: Path, max_concurrent: int | None
) -> list[Row]:
    """Run the sweep in `output`, or continue the one that was interrupted there."""
    from dyna.cluster.connection import connect, disconnect

    started = connect(config.runtime)
    # They import Ray, which `connect` prepares for.
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from dyna.rllib.tuning import TIME, continued, tuner

    try:
        if (output / NAME).exists():
            trials = continued(output / NAME)
        else:
            scheduler = ASHAScheduler(time_attr=TIME, max_t=1 + config.rounds, **study["asha"])
            trials = tuner(
                config,
                space=tune.grid_search(arms(study)),
                output=output,
                name=NAME,
                scheduler=scheduler,
                max_concurrent=max_concurrent,
            )
        results = trials.fit()
        return sorted(
            (_row(result.config, result.metrics) for result in results if result.metrics),
            key=lambda row: (row["ratio"], row["seed"]),
        )
    finally:
        if started:
            disconnect()


def _row(config: Mapping[str, Any] | None, metrics: Mapping[str, Any]) -> Row:
    """What is reported of one trial."""
    assert config is not None
    run, found = config["run_config"], metrics["dyna"]
    real, imagined = (run[part]["episodes_per_round"] for part in ("real", "imagination"))
    return {
        "ratio": round(real / (real + imagined), 3),
        "seed": run["seed"],
        "rounds": found["round"],
        "real_success": found["eval/real_success"],
        "imagined_success": found.get("eval/imagined_success"),
        "real_steps": round(found["ledger/real_steps"]),
        "imagined_steps": round(found["ledger/imagined_steps"]),
    }


def table(rows: Sequence[Row]) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in rows[0]:
        shown.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        shown.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    return shown


def to_markdown(found: Mapping[str, Any]) -> str:
    """The table of a result file, for a page."""
    rows: Sequence[Row] = found["trials"]
    names = list(rows[0])
    lines = [
        "| " + " | ".join(name.replace("_", " ") for name in names) + " |",
        "|" + "---:|" * len(names),
    ]
    for row in rows:
        cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        lines.append("| " + " | ".join(cells) + " |")
    tasks = next(text for text in found["study"]["settings"] if "num_tasks" in text)
    return "\n".join([*lines, "", f"On {found['machine']}; `{tasks}`."])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("runs"), help="where trials are kept")
    parser.add_argument("--result", type=Path, help=f"write the table here, as JSON ({NAME}.json)")
    parser.add_argument("--docs", type=Path, help="a page to put the table of --result into")
    parser.add_argument(
        "--max-concurrent", type=int, help="trials at once; by default all that fit"
    )
    parser.add_argument("settings", nargs="*", metavar="key=value", help="changes of every trial")
    arguments = parser.parse_args()
    study = read_study()
    config = base(study, changes=arguments.settings)
    rows = sweep(
        study, config=config, output=arguments.output, max_concurrent=arguments.max_concurrent
    )
    Console().print(table(rows))
    if arguments.result:
        machine = f"{os.cpu_count()} CPU cores, one thread per trial"
        found = {"study": study, "machine": machine, "trials": rows}
        write_json(arguments.result, value=found)
        if arguments.docs:
            write_section(arguments.docs, name="real-ratio", text=to_markdown(found))


if __name__ == "__main__":
    main()
