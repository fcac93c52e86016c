"""The tables of docs/worlds.md, from the result files of the study: no number by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dyna.files import read_json
from experiments.report.sections import write_section

_GROUPS = ("all", "valid", "invalid", "winning")
_DASH = "-"


def write_page(docs: Path) -> None:
    """Write the tables of `docs/worlds.md` from `docs/results/{worlds,tiny}_*.json`."""
    compared = [read_json(path) for path in sorted((docs / "results").glob("tiny_*.json"))]
    if compared:
        text = "\n\n".join(map(beginnings_table, compared))
        write_section(docs / "worlds.md", name="worlds-beginnings", text=text)
    found = [read_json(path) for path in sorted((docs / "results").glob("worlds_*.json"))]
    if found:
        text = "\n\n".join(
            [success_table(found), fidelity_table(found), kinds_table(found), _origin(found)]
        )
        write_section(docs / "worlds.md", name="worlds-study", text=text)


def beginnings_table(compared: dict[str, Any]) -> str:
    """Exact match on held-out turns, by the way to begin and by epochs trained."""
    rows: dict[str, list[dict[str, float]]] = compared["beginnings"]
    epochs = [f"{figures.get('epochs', 0):g} epochs" for figures in next(iter(rows.values()))]
    lines = [f"| {compared['world']}, exact match after | {' | '.join(epochs)} |"]
    lines.append("|---" * (len(epochs) + 1) + "|")
    for name, figures in rows.items():
        lines.append(f"| {name} | {' | '.join(_percent(f['em']) for f in figures)} |")
    turns = next(iter(rows.values()))[0]["turns"]
    lines += ["", f"{compared['training_episodes']} episodes to learn from; {turns:.0f} turns of "]
    lines[-1] += f"{compared['held_out_episodes']} others to be scored on; seed {compared['seed']}."
    return "\n".join(lines)


def success_table(found: list[dict[str, Any]]) -> str:
    """Real success on held-out tasks before the first round of the loop and after the last."""
    rows = [
        "| world | after imitation | after the run | imagined, after | held-out tasks "
        "| real steps | imagined steps | rounds | core minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        before, after = one["before"], one["after"]
        rows.append(
            f"| {one['world']} | {_success(before)} | {_success(after)} "
            f"| {_percent(after['imagined_success'])} | {after['tasks']:.0f} "
            f"| {after['real_steps']:,.0f} | {after['imagined_steps']:,.0f} "
            f"| {one['rounds_played']} | {one['cpu_minutes']:.1f} |"
        )
    return "\n".join(rows)


def fidelity_table(found: list[dict[str, Any]]) -> str:
    """The world model one step ahead, by what the real world did with the action."""
    rows = [
        "| world | turns of | number | exact match | observation | word F1 | reward | ending |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        for group in _GROUPS:
            rows.append(f"| {one['world']} | {group} actions | {_parts(one['fidelity'][group])} |")
    return "\n".join(rows)


def kinds_table(found: list[dict[str, Any]]) -> str:
    """Exact match by the first word of the command, the most frequent ones first."""
    rows = ["| world | exact match by kind of action (turns) |", "|---|---|"]
    for one in found:
        kinds: dict[str, Any] = one["fidelity"]["kinds"]
        often = sorted(kinds.items(), key=lambda item: item[1]["turns"], reverse=True)[:8]
        told = [f"`{_code(kind)}` {_percent(p['exact'])} ({p['turns']})" for kind, p in often]
        rows.append(f"| {one['world']} | {', '.join(told)} |")
    return "\n".join(rows)


def _origin(found: list[dict[str, Any]]) -> str:
    machine = found[0]["machine"]
    seeds = sorted({one["seed"] for one in found})
    limit = max(one["limit_minutes"] for one in found)
    return (
        f"Seed {', '.join(map(str, seeds))}, one run each, at most {limit:.0f} minutes of one core "
        f"of a machine with {machine['cores']} ({machine['processor']}, no GPU). Brackets are 95% "
        "Wilson intervals over held-out tasks. "
        "Predictions are generated greedily, each on its real prefix, over held-out real episodes."
    )


def _success(reached: dict[str, Any]) -> str:
    share, low, high = (100 * reached[name] for name in ("real_success", "low", "high"))
    return f"{share:.0f}% [{low:.0f}, {high:.0f}]"


def _parts(parts: dict[str, Any]) -> str:
    shares = [parts.get(name) for name in ("exact", "observation", "word_f1", "reward", "done")]
    return " | ".join([str(parts["turns"]), *map(_percent, shares)])


def _percent(share: float | None) -> str:
    return _DASH if share is None else f"{100 * share:.0f}%"


def _code(kind: str) -> str:
    """Safe in a table's cell and in code quotes."""
    return kind.replace("|", "/").replace("`", "'")[:24] or "(empty)"


__all__ = ["fidelity_table", "kinds_table", "success_table", "write_page"]
