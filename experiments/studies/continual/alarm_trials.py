"""Trials of the alarm: a hole planted in the model must trip it in time, a clean model never.

    python -m experiments.studies.continual.alarm_trials --result docs/results/continual_alarm.json
    python -m experiments.studies.continual.alarm_trials --seeds 2 --result trials.json

The settings are in `alarm.yaml`. Stopped, the trials go on where they were. Every trial is a whole
run of the Dyna loop; its real success is measured after each round on every row of rooms.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from dyna.alarm import Alarm
from dyna.configuring import load
from dyna.evaluation.intervals import wilson
from dyna.files import read_json, write_json
from dyna.seeding import generator
from experiments.build import build_player, build_run

CLEAN = "clean"
Row = dict[str, Any]


def read_study() -> dict[str, Any]:
    text = files("experiments.studies.continual").joinpath("alarm.yaml").read_text("utf-8")
    return yaml.safe_load(text)


def opens_in(study: Mapping[str, Any], *, seed: int) -> int:
    """The round in which the hole opens; its dreams are the first that it pays."""
    low, high = study["opens_between"]
    return int(generator(seed, "hole").integers(low, high + 1))


def trial(study: Mapping[str, Any], *, arm: str, seed: int) -> Row:
    """One run of one arm, told in numbers."""
    opens = opens_in(study, seed=seed)
    config = load(
        overrides=[
            *study["settings"],
            *study["arms"][arm],
            f"seed={seed}",
            f"world.params.seed={1000 * seed}",
            f"world_model.params.opens_after={-1 if arm == CLEAN else opens}",
        ]
    )
    player = build_player(config)
    made = build_run(config, player=player, crew=player.crew, trainers={})
    began = time.perf_counter()
    success: list[float] = []
    spent: list[float] = []
    checked = 0.0
    for _, metrics in made.loop.run(first_round=0, last_round=opens + study["rounds_after"]):
        success.append(metrics["eval/real_success"])
        spent.append(metrics["ledger/real_steps"])
        checked = metrics["ledger/verification_steps"]
    alarm = made.loop.alarm
    trips = alarm.trips if isinstance(alarm, Alarm) else []
    # Without a trip all rounds count; with one, those until the alarm had done its work.
    end = trips[0].round if trips else len(success) - 1
    return {
        "arm": arm,
        "seed": seed,
        "hole_opens": None if arm == CLEAN else opens,
        "tripped": bool(trips),
        "trip_round": trips[0].round if trips else None,
        "success_before_hole": success[opens - 1],
        "success_at_end": success[end],
        "success_last_round": success[-1],
        "fall": fall(success[: end + 1]),
        "real_steps": spent[end],
        "verification_steps": checked,
        "success_by_round": success,
        "trip": asdict(trips[0]) if trips else None,
        "why": str(trips[0]) if trips else None,
        "seconds": round(time.perf_counter() - began, 1),
    }


def fall(success: Sequence[float]) -> float:
    """How far success ever lay below the best that it had been."""
    best, most = success[0], 0.0
    for value in success:
        best = max(best, value)
        most = max(most, best - value)
    return round(most, 6)


def run_trials(
    study: Mapping[str, Any], *, result: Path, num_parallel: int, console: Console
) -> list[Row]:
    """All trials, each written as it ends; those that `result` holds of this study are not run."""
    rows: list[Row] = read_json(result)["trials"] if _is_of(study, result=result) else []
    done = {(row["arm"], row["seed"]) for row in rows}
    todo = [
        (arm, seed)
        for seed in range(study["seeds"])
        for arm in study["arms"]
        if (arm, seed) not in done
    ]
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(num_parallel, mp_context=context, initializer=_silence) as pool,
        Progress(console=console) as progress,
    ):
        bar = progress.add_task("trials", total=len(todo))
        waiting = [pool.submit(trial, study, arm=arm, seed=seed) for arm, seed in todo]
        for ended in as_completed(waiting):
            rows.append(ended.result())
            rows.sort(key=lambda row: (list(study["arms"]).index(row["arm"]), row["seed"]))
            write_json(result, value=_record(study, rows=rows))
            progress.advance(bar)
    return rows


def _silence() -> None:
    """What a trip says is in the result; forty of them would drown the bar."""
    logging.disable(logging.WARNING)


def _is_of(study: Mapping[str, Any], *, result: Path) -> bool:
    """Other seeds of the same study go on; other settings begin anew."""
    if not result.exists():
        return False
    held = read_json(result)["study"]
    return {**held, "seeds": 0} == {**study, "seeds": 0}


def _record(study: Mapping[str, Any], *, rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "study": dict(study),
        "machine": f"{os.cpu_count()} CPU cores, one thread per trial",
        "summary": summary(rows),
        "trials": list(rows),
    }


def summary(rows: Sequence[Row]) -> dict[str, Row]:
    """By arm, in how many seeds the alarm tripped and what it let happen."""
    found: dict[str, Row] = {}
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own = [row for row in rows if row["arm"] == arm]
        tripped = [row for row in own if row["tripped"]]
        rate = wilson(len(tripped), num=len(own))
        late = [row["trip_round"] - row["hole_opens"] for row in tripped if row["hole_opens"]]
        found[arm] = {
            "seeds": len(own),
            "tripped": len(tripped),
            "tripped_low": rate.low,
            "tripped_high": rate.high,
            "most_rounds_late": max(late, default=None),
            "largest_fall": max(row["fall"] for row in own),
            "mean_success_before_hole": _mean([row["success_before_hole"] for row in own]),
            "mean_success_last_round": _mean([row["success_last_round"] for row in own]),
            "mean_real_steps_last": _mean([row["real_steps"] for row in own]),
            "mean_verification_steps": _mean([row["verification_steps"] for row in own]),
        }
    return found


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def table(rows: Sequence[Row]) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in (
        "arm",
        "tripped",
        "rounds late, at most",
        "largest fall",
        "real success before",
        "in the last round",
        "verification steps",
    ):
        shown.add_column(name, justify="left" if name == "arm" else "right")
    for arm, row in summary(rows).items():
        late = row["most_rounds_late"]
        shown.add_row(
            arm,
            f"{row['tripped']} of {row['seeds']}",
            "" if late is None else str(late),
            f"{row['largest_fall']:.3f}",
            f"{row['mean_success_before_hole']:.3f}",
            f"{row['mean_success_last_round']:.3f}",
            f"{row['mean_verification_steps']:.0f}",
        )
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--result", type=Path, required=True, help="write the trials here, as JSON")
    parser.add_argument("--seeds", type=int, help="seeds of each arm; by default those of the YAML")
    parser.add_argument("--parallel", type=int, default=os.cpu_count() or 1, help="trials at once")
    options = parser.parse_args(arguments)
    study = read_study()
    if options.seeds is not None:
        study["seeds"] = options.seeds
    console = Console()
    rows = run_trials(study, result=options.result, num_parallel=options.parallel, console=console)
    console.print(table(rows))


if __name__ == "__main__":
    main()
