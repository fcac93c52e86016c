"""`python -m experiments.chaos`: every fault of the matrix, each in a process of its own.

    make chaos                                     the whole matrix
    make chaos ARGS="--cells runner:act,driver"    some of it; a victim alone means all its phases

Each cell plays a tiny run with real actors, breaks something in it, and compares what the run
committed with an undisturbed one. Prints a table; exits with 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dyna.testing import byte_tokenizer, tiny_model
from experiments.chaos.cells import MATRIX, TOGETHER, Cell, find
from experiments.chaos.page import record
from experiments.chaos.playing import Verdict, play
from experiments.chaos.processes import Census

_LIMIT_S = 600.0
"""For a cell and each phase that it is hit in; it takes half a minute on a quiet machine."""
_ROWS = {cell.victim for cell in TOGETHER}
_NUM_STARTS = 3
"""On a busy machine Ray's own agent may miss its fixed 15 seconds, and takes the node with it."""


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console(soft_wrap=True)
    cells = _chosen(options.cells) if options.cells else list(MATRIX)
    if options.together:
        cells = [*TOGETHER, *(cell for cell in MATRIX if cell.victim not in _ROWS)]
    folder: Path = options.folder or Path(tempfile.mkdtemp(prefix="dyna-chaos-"))
    if options.play:
        return _play_here(cells[0], folder=folder, expected=options.expected)
    folder = folder.absolute()
    model = make_model(folder)
    verdicts: list[Verdict] = []
    for number, cell in enumerate(cells, start=1):
        expected = undisturbed(model=model, folder=folder, console=console)
        place = folder / cell.name.replace(":", "_")
        verdict = patiently(cell, folder=place, expected=expected)
        verdicts.append(verdict)
        if options.docs:
            record([verdict], docs=options.docs)
        console.print(f"{number:3}/{len(cells)} {_line(verdict)}", highlight=False)
    console.print(table(verdicts))
    num_failed = sum(bool(verdict.problems) for verdict in verdicts)
    console.print(f"{len(verdicts) - num_failed} of {len(verdicts)} cells hold; runs: {folder}")
    return 1 if num_failed else 0


def make_model(folder: Path) -> Path:
    """The random language model of all runs, in `folder/model`."""
    place = folder / "model"
    tokenizer = byte_tokenizer()
    tiny_model(len(tokenizer), hidden_size=32, num_layers=1).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def undisturbed(*, model: Path, folder: Path, console: Console) -> Path:
    """The folder of the run that all are compared with, played when first asked for.

    Raises `RuntimeError` when even that does not end well.
    """
    place = folder / "undisturbed"
    if not place.exists():
        verdict = patiently(MATRIX[0], folder=place, expected=None)
        console.print(f"        {_line(verdict)}", highlight=False)
        if verdict.problems:
            raise RuntimeError(f"the undisturbed run failed: {verdict.problems}; look in {place}")
    return place


def patiently(cell: Cell, *, folder: Path, expected: Path | None) -> Verdict:
    """Play `cell`; again where Ray did not even start, so that nothing was put to the test."""
    for attempt in range(_NUM_STARTS):
        verdict = in_own_process(cell, folder=folder, expected=expected)
        if verdict.hit or not verdict.problems or attempt == _NUM_STARTS - 1:
            break
        folder.rename(folder.with_name(f"{folder.name}_did_not_start_{attempt}"))
    return verdict


def in_own_process(cell: Cell, *, folder: Path, expected: Path | None) -> Verdict:
    """Play `cell` in a new process, which is killed with all its own after a while."""
    command = [sys.executable, "-m", "experiments.chaos", "--play", "--cells", cell.name]
    command += ["--folder", str(folder)]
    command += ["--expected", str(expected)] if expected else []
    census = Census()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    limit_s = _LIMIT_S * len(cell.phases)
    try:
        process.wait(timeout=limit_s)
        problem = f"the cell's own process ended with {process.returncode}"
    except subprocess.TimeoutExpired:
        problem = f"not done in {limit_s:g} s"
    finally:
        census.count(process.pid)
        census.kill()
        process.kill()
        process.wait()
    written = folder / "verdict.json"
    if not written.is_file():
        return Verdict(cell=cell.name, problems=[problem], seconds=limit_s)
    return Verdict(**json.loads(written.read_text()))


def table(verdicts: list[Verdict]) -> Table:
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("cell", "blow", "went on by", "s", ""):
        made.add_column(column, no_wrap=column != "")
    for verdict in verdicts:
        told = "; ".join(verdict.problems) or "the same"
        made.add_row(
            *(verdict.cell, verdict.hit, verdict.recovered_by, f"{verdict.seconds:.0f}", told)
        )
    return made


def _play_here(cell: Cell, *, folder: Path, expected: Path | None) -> int:
    folder = folder.absolute()
    verdict = play(cell, model=folder.parent / "model", folder=folder, expected=expected)
    return 1 if verdict.problems else 0


def _chosen(names: str) -> list[Cell]:
    chosen: list[Cell] = []
    for name in names.split(","):
        of_victim = [cell for cell in MATRIX if cell.victim.value == name]
        chosen += of_victim or [find(name)]
    return chosen


def _line(verdict: Verdict) -> str:
    told = "; ".join(verdict.problems)
    outcome = f"FAILS: {told}" if told else f"holds ({verdict.hit or 'nothing broken'})"
    return f"{verdict.cell}: {outcome}, {verdict.seconds:.0f} s"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--cells", default="", help="victim:phase or victim, with commas between")
    parser.add_argument(
        "--together", action="store_true", help="one run for each victim, hit in every phase"
    )
    parser.add_argument("--folder", type=Path, help="where the runs are kept; by default a new one")
    parser.add_argument("--docs", type=Path, help="put the verdicts into the pages of this folder")
    parser.add_argument("--play", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--expected", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
