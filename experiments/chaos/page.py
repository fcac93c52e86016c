"""The matrix on record: `docs/results/chaos.json`, and from it the table of `docs/faults.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dyna.files import read_json, write_json
from experiments.chaos.cells import EVERY, MATRIX, PHASES, TOGETHER, Cell
from experiments.chaos.playing import Verdict
from experiments.report.sections import write_section


def record(verdicts: Sequence[Verdict], *, docs: Path) -> None:
    """Put `verdicts` into the record; of cells that were not played now, the last ones stay."""
    path = docs / "results" / "chaos.json"
    found = {cell["cell"]: cell for cell in read_json(path)["cells"]} if path.exists() else {}
    found |= {verdict.cell: asdict(verdict) for verdict in verdicts}
    cells = [found[cell.name] for cell in (*MATRIX, *TOGETHER) if cell.name in found]
    machine = {"processor": platform.machine(), "cores": os.cpu_count()}
    write_json(path, value={"machine": machine, "cells": cells})
    write_section(docs / "faults.md", name="chaos", text=page(cells))


def page(cells: Sequence[dict[str, Any]]) -> str:
    """Victims by phases, then what fits no phase, then what failed."""
    by_name = {cell["cell"]: cell for cell in cells}
    rows = [f"| killed | {' | '.join(PHASES)} |", "|---" * (len(PHASES) + 1) + "|"]
    for victim in dict.fromkeys(cell.victim for cell in MATRIX if _has_row(cell)):
        together = by_name.get(f"{victim}:{EVERY}")
        told = [_told(by_name.get(f"{victim}:{phase}"), together=together) for phase in PHASES]
        rows.append(f"| {victim} | {' | '.join(told)} |")
    rows += ["", "| otherwise | blow | went on by | |", "|---|---|---|---|"]
    for cell in [cell for cell in MATRIX if not _has_row(cell)]:
        found = by_name.get(cell.name)
        blow, by = (found["hit"], found["recovered_by"]) if found else ("", "")
        rows.append(f"| {cell.victim} | {blow} | {by} | {_told(found)} |")
    held = sum(not cell["problems"] for cell in cells)
    rows += [
        "",
        f"{held} of {len(cells)} runs hold; with a fault each there are {len(MATRIX)}.",
    ]
    for cell in cells:
        if cell["problems"]:
            rows.append(f"\n- `{cell['cell']}` does not hold: {'; '.join(cell['problems'])}")
    return "\n".join(rows)


def _has_row(cell: Cell) -> bool:
    return all(Cell(victim=cell.victim, phase=phase) in MATRIX for phase in PHASES)


def _told(cell: dict[str, Any] | None, *, together: dict[str, Any] | None = None) -> str:
    if cell is None:
        if together is None:
            return "not run"
        return "**fails** together" if together["problems"] else "same, together"
    return "**fails**" if cell["problems"] else f"same, {cell['seconds']:.0f} s"
