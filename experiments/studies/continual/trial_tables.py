"""The trials of the gate and of the alarm on the page: what was planted, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyna.files import read_json
from experiments.studies.continual.tables import markdown

_FALL = 0.05
"""Of real success, from before the hole: more must not be lost before the alarm trips."""


def gate_section(result: Path) -> str:
    """How many candidates of each kind went live, by the configured gate and by others."""
    found = read_json(result)
    kinds = found["kinds"]
    goal = found["goal"]
    num = max(counts["num"] for counts in kinds.values())
    configured = [["as configured", *(_share(counts) for counts in kinds.values())]]
    names = next(iter(kinds.values()))["accepted_by"]
    others = [[name, *(str(k["accepted_by"][name]) for k in kinds.values())] for name in names]
    header = ["gate", *(f"{kind}: live of {counts['num']}" for kind, counts in kinds.items())]
    verdict = "reached" if found["reached"] else "not reached"
    goals = (
        f"The goal is {goal['refused']} refusals of each planted bad update and at least "
        f"{goal['accepted']} good updates gone live: **{verdict}**, with {num} trials of each kind "
        f"([{result.name}](results/{result.name}))."
    )
    parts = [
        goals,
        markdown(header, configured),
        "<details><summary>What other gates would have said of the same candidates</summary>",
        "Named by test and burden of proof; `dyna config` says what each means.",
        markdown(header, others),
        "</details>",
    ]
    return "\n\n".join(parts)


def alarm_section(result: Path) -> str:
    """In how many runs of each kind the alarm tripped, and what it let happen."""
    found = read_json(result)
    fallen = {
        arm: sum(t["fall"] > _FALL for t in found["trials"] if t["arm"] == arm)
        for arm in found["summary"]
    }
    rows = [
        [
            arm,
            f"{row['tripped']} of {row['seeds']}",
            f"{fallen[arm]} of {row['seeds']}",
            "" if row["most_rounds_late"] is None else str(row["most_rounds_late"]),
            f"{100 * row['largest_fall']:.1f}",
            f"{row['mean_success_before_hole']:.3f}",
            f"{row['mean_success_last_round']:.3f}",
            f"{row['mean_verification_steps']:,.0f} of {row['mean_real_steps_last']:,.0f}",
        ]
        for arm, row in found["summary"].items()
    ]
    header = [
        "run",
        "tripped",
        f"fell by more than {100 * _FALL:.0f} points",
        "rounds late, at most",
        "largest fall, points",
        "real success before",
        "in the last round",
        "real steps on verification",
    ]
    planted, clean = found["summary"]["planted"], found["summary"]["clean"]
    whole = planted["tripped"] == planted["seeds"] and not clean["tripped"]
    verdict = "reached" if whole and not fallen["planted"] else "not reached"
    goal = (
        f"The goal is a trip in every planted run before real success has fallen by more than "
        f"{100 * _FALL:.0f} points, and in no clean run: **{verdict}** "
        f"([{result.name}](results/{result.name}))."
    )
    return f"{goal}\n\n{markdown(header, rows)}"


def _share(counts: Mapping[str, Any]) -> str:
    low, high = counts["accepted_rate_95"]
    return f"{counts['accepted']} [{low:.0%}, {high:.0%}]"


__all__ = ["alarm_section", "gate_section"]
