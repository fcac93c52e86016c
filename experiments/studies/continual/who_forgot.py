"""Who forgot, the policy or its model: runs of one stream beside the same with perfect dreams.

    dyna train continual --run runs/live seed=1
    dyna train continual --run runs/oracle seed=1 world_model.name=oracle
    python -m experiments.studies.continual.who_forgot --pair runs/live runs/oracle

One pair for each seed; `--result who.json` keeps the figures. All rates are read from what the runs
measured on held-out tasks of every experience; nothing is played again.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dyna.configuring import load
from dyna.evaluation.attribution import Attribution, attribute, figures_over_seeds
from dyna.files import write_json
from dyna.stream import Stream
from dyna.tracking import read_metrics
from dyna.types import Metrics

CONFIG_FILE = "config.yaml"


def who_forgot(live: Path, *, oracle: Path) -> dict[str, Attribution]:
    """By experience. Raises `ValueError` for runs of other streams, or runs that did not end."""
    stream = Stream.of(load(live / CONFIG_FILE))
    names = [experience.name for experience in stream.experiences]
    other = [experience.name for experience in Stream.of(load(oracle / CONFIG_FILE)).experiences]
    if names != other:
        raise ValueError(
            f"{live} learned {names}, {oracle} learned {other}; give runs of one stream"
        )
    rounds, perfect = _measured(live, stream=stream), _measured(oracle, stream=stream)
    ends = {
        place.experience.name: round
        for round in range(stream.last_round + 1)
        if (place := stream.at(round)).is_last
    }
    last = stream.last_round
    return attribute(
        learned={name: _rate(rounds[ends[name]], name, "real_success") for name in names},
        real={name: _rate(rounds[last], name, "real_success") for name in names},
        model={name: _rate(rounds[last], name, "imagined_success") for name in names},
        oracle={name: _rate(perfect[last], name, "real_success") for name in names},
    )


def _measured(folder: Path, *, stream: Stream) -> Mapping[int, Metrics]:
    rounds = dict(read_metrics(folder))
    if stream.last_round not in rounds:
        raise ValueError(
            f"{folder} has not ended: round {stream.last_round} is missing; `dyna resume {folder}`"
        )
    return rounds


def _rate(metrics: Metrics, name: str, measure: str) -> float:
    return metrics.get(f"experience/{name}/{measure}", math.nan)


def table(seeds: Sequence[Mapping[str, Attribution]]) -> Table:
    """Means over seeds, by experience."""
    names = list(seeds[0])
    shown = Table(box=None, header_style="bold", pad_edge=False)
    shown.add_column("experience")
    figures = list(seeds[0][names[0]].figures())
    for figure in figures:
        shown.add_column(figure.replace("_", " "), justify="right")
    for name in names:
        values = [attributions[name].figures() for attributions in seeds]
        means = (sum(v[figure] for v in values) / len(values) for figure in figures)
        shown.add_row(name, *(f"{mean:.3f}" for mean in means))
    return shown


def record(seeds: Sequence[Mapping[str, Attribution]]) -> dict[str, Any]:
    intervals = figures_over_seeds(seeds) if len(seeds) > 1 else {}
    return {
        "over_seeds": {name: asdict(interval) for name, interval in intervals.items()},
        "seeds": [{name: _plain(found.figures()) for name, found in own.items()} for own in seeds],
    }


def _plain(figures: Mapping[str, float]) -> dict[str, float | None]:
    """NaN becomes None, for JSON has none."""
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--pair",
        nargs=2,
        type=Path,
        action="append",
        required=True,
        metavar=("LIVE", "ORACLE"),
        help="folders of two runs of one seed; once for each seed",
    )
    parser.add_argument("--result", type=Path, help="write the figures here, as JSON")
    options = parser.parse_args(arguments)
    seeds = [who_forgot(live, oracle=oracle) for live, oracle in options.pair]
    Console().print(table(seeds))
    if options.result:
        write_json(options.result, value=record(seeds))


if __name__ == "__main__":
    main()
