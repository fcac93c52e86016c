"""The table that a run ends with on the terminal: real success, and imagined beside it."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table
from rich.text import Text

from experiments.report.costs import phase_seconds
from experiments.report.data import read_run
from experiments.report.numbers import count, percent, points, rate_text, seconds


def summary_table(folder: Path) -> Table:
    """One row per evaluated round; the caption says where the time went.

    Raises:
        FileNotFoundError: there is no such folder, or it has no `metrics.jsonl`.
        ValueError: a file in it does not hold what `experiments.report.data` says.
    """
    run = read_run(folder)
    totals = phase_seconds(run)
    spent = ", ".join(f"{phase} {seconds(value)}" for phase, value in totals.items())
    table = Table(
        title=Text(run.name),
        caption=Text(f"{seconds(sum(totals.values()))}: {spent}" if totals else "no times kept"),
        caption_justify="left",
    )
    table.add_column("Round", justify="right")
    table.add_column("Real\nsteps", justify="right")
    table.add_column("Real success\n[95%]", justify="right", style="blue")
    table.add_column("Imagined\nsuccess", justify="right", style="yellow")
    table.add_column("Gap", justify="right")
    table.add_column("Model\nEM", justify="right")
    table.add_column("Imagined\nsteps", justify="right")
    for entry in run.evaluated():
        em = entry.get("model/em")
        table.add_row(
            str(entry.index),
            count(entry.get("ledger/real_steps")),
            Text(rate_text(entry.rate("eval/real_success"))),
            Text(rate_text(entry.rate("eval/imagined_success"))),
            points(entry.get("eval/exploitation_gap")),
            "n/a" if em is None else percent(em, digits=1),
            count(entry.get("ledger/imagined_steps")),
        )
    if not table.rows:
        table.add_row("n/a", "n/a", Text("never evaluated"), *["n/a"] * 4)
    return table
