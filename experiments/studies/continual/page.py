"""The page of the studies of continual learning: tables and figures of all that is finished.

Every study has a part of its own between two comments of its name (`experiments.report.sections`);
a page without them is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dyna.evaluation.continual import average_accuracy, backward_transfer
from experiments.report.sections import write_section
from experiments.studies.continual.heat_map import write_heat_maps
from experiments.studies.continual.outcomes import ROLES, Outcomes, interval, read_outcomes
from experiments.studies.continual.retention import write_retention
from experiments.studies.continual.sweep_plot import sweeps, write_sweep_plot
from experiments.studies.continual.tables import (
    goals_table,
    kept_table,
    learned_table,
    rate_cell,
    shortfall_table,
    spent_table,
    verdict,
)
from experiments.studies.continual.transfer_plot import write_transfer_plot


def summary_table(result: Path) -> Table:
    """What a call of a study ends with on the terminal: a row for each strategy."""
    study = read_outcomes(result)
    table = Table(
        title=Text(study.name),
        caption=Text(f"tasks: {', '.join(study.tasks)}; mean [95% interval] over seeds"),
        caption_justify="left",
    )
    table.add_column("Strategy")
    for label in ("Seeds", "Model\nBWT", "Policy\nBWT", "Model\nEM", "Policy\nsuccess", "Memory"):
        table.add_column(label, justify="right")
    for name, outcomes in study.strategies.items():
        cells = [
            rate_cell(interval(outcomes, role=role, measure=measure), signed=signed)
            for measure, signed in ((backward_transfer, True), (average_accuracy, False))
            for role in ROLES
        ]
        share = max(outcome.memory_share for outcome in outcomes)
        row = [name, str(len(outcomes)), *cells, f"{share:.1%}"]
        table.add_row(*(Text(cell) for cell in row))
    return table


def write_page(docs: Path, *, results: Path) -> None:
    """Write into the page `docs` what every finished study in the folder `results` came to, with
    its figures beside the results.

    Raises `FileNotFoundError` for a page that is not there, `ValueError` for damaged results.
    """
    if not docs.is_file():
        raise FileNotFoundError(f"there is no page {docs}; name an existing Markdown file")
    for frame in sorted(results.glob("*.study.json")):
        result = frame.with_name(frame.name.replace(".study.json", ".json"))
        study = read_outcomes(result)
        write_section(docs, name=study.name, text=section(study, result=result, docs=docs))
    for name, text in _trials().items():
        result = results / f"{name}.json"
        if result.is_file():
            write_section(docs, name=name, text=text(result))


def _trials() -> dict[str, Callable[[Path], str]]:
    """What is said of the trials beside the chains, by the name of their results."""
    # They train models: what they import takes seconds, and tables of chains need none of it.
    from experiments.studies.continual import drift_trials, rule_change, trial_tables

    return {
        "continual_gate": trial_tables.gate_section,
        "continual_alarm": trial_tables.alarm_section,
        "continual_drift": drift_trials.section,
        "continual_rule_change": rule_change.section,
    }


def section(study: Outcomes, *, result: Path, docs: Path) -> str:
    """All that the page says of one study; draws its figures."""
    figures = _draw(study, result=result)
    shown = [
        f"![{label}]({Path(os.path.relpath(path, docs.parent)).as_posix()})"
        for label, path in figures.items()
    ]
    caption = _caption(study, result=Path(os.path.relpath(result, docs.parent)))
    kept = ["What was kept:", kept_table(study), "What was learned:", learned_table(study)]
    if sweeps(study):
        return "\n\n".join([caption, *shown, *kept])
    shortfalls = [shortfall_table(study, role=role) for role in ROLES]
    parts: Sequence[str] = [
        caption,
        verdict(study),
        goals_table(study),
        shown[0],
        *kept,
        *(table for table in shortfalls if table),
        "What it cost, mean over seeds:",
        spent_table(study),
        *shown[1:],
    ]
    return "\n\n".join(parts)


def _draw(study: Outcomes, *, result: Path) -> dict[str, Path]:
    """The figures of a study beside its results, by what they show; the first comes first."""

    def place(name: str) -> Path:
        return result.with_name(f"{study.name}_{name}.svg")

    if sweeps(study):
        write_sweep_plot(place("sweep"), study)
        return {"Retention and plasticity by budget": place("sweep")}
    figures = {"Backward transfer by strategy": place("bwt")}
    write_transfer_plot(place("bwt"), study)
    for role in ROLES:
        figures[f"Retention of the {role}"] = place(f"{role}_retention")
        write_retention(place(f"{role}_retention"), study, role=role)
        figures[f"Result matrices of the {role}"] = place(f"{role}_matrix")
        write_heat_maps(place(f"{role}_matrix"), study, role=role)
    return figures


def _caption(study: Outcomes, *, result: Path) -> str:
    seeds = sorted({len(outcomes) for outcomes in study.strategies.values()})
    said = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return (
        f"Tasks, in their order: {', '.join(study.tasks)}. {len(study.strategies)} strategies, "
        f"{said} seeds each, on {study.machine}. Mean and 95% interval over seeds (Student's t); "
        f"all figures in [{result.name}]({result.as_posix()})."
    )


__all__ = ["section", "summary_table", "write_page"]
