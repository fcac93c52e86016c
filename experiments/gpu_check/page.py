"""The table of docs/gpu.md, from docs/results/gpu_check.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyna.files import write_json
from experiments.gpu_check.findings import Status
from experiments.report.sections import write_section

SECTION = "gpu-check"


def results_path(docs: Path) -> Path:
    return docs / "results" / "gpu_check.json"


def write(result: Mapping[str, Any], *, docs: Path) -> None:
    path = results_path(docs)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value=dict(result))
    write_section(docs / "gpu.md", name=SECTION, text=to_markdown(result))


def to_markdown(result: Mapping[str, Any]) -> str:
    rows = [
        "| check | result | measured | the device allows | ratio | goal | |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    rows += [_row(found) for found in result["checks"].values()]
    return "\n".join([_machine(result["machine"]), "", *rows])


def _machine(machine: Mapping[str, Any]) -> str:
    if not machine.get("device"):
        return "No machine with a GPU has run it yet."
    memory = machine.get("memory_gb")
    return (
        f"Device: {machine['device']}{f' with {memory:.0f} GB' if memory else ''}, torch "
        f"{machine['torch']}, vLLM {machine['vllm'] or 'not installed'}; size `{machine['size']}`."
    )


def _row(found: Mapping[str, Any]) -> str:
    if "measured" not in found:
        note = str(found.get("note", "")).replace("|", "/")
        return f"| {found['what']} | {found['status']} | | | | | {note} |"
    bound, ratio, goal = found["bound"], found["ratio"], found["goal"]
    status = found["status"]
    result = f"**{status}**" if status == Status.MISS else status
    cells = [
        f"{found['measured']:,.4g} {found['unit']}",
        "" if bound is None else f"{bound:,.4g}",
        "" if ratio is None else f"{ratio:.2f}",
        "" if goal is None else f">= {goal:g}",
    ]
    return f"| {found['what']} | {result} | {' | '.join(cells)} | |"
