"""The tables of a study of continual learning, in Markdown; every cell comes from its results."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from dyna.evaluation.continual import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    learning_accuracy,
)
from experiments.report.data import Rate
from experiments.report.numbers import count, percent, seconds
from experiments.studies.continual.outcomes import (
    JOINT_MARGIN,
    ROLES,
    Measure,
    Outcome,
    Outcomes,
    against_joint,
    interval,
    mean,
)
from experiments.studies.continual.settings import ALONE, BEFORE, JOINT

GOALS = {"model": -0.01, "policy": -0.02}
"""Least backward transfer of each."""
MEMORY_GOAL = 0.05
"""Largest share of the past that may be kept."""

_REFERENCES = {
    BEFORE: "before the stream",
    JOINT: "joint: all at once",
    ALONE: "alone: each by itself",
}
_SLACK = 1e-9
"""Shares are fractions of few tasks: what lies exactly on a bound counts as within it."""


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and the others figures."""
    lines = [header, ["---", *["--:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def kept_table(study: Outcomes) -> str:
    """The headline: backward transfer and average accuracy, of model and policy."""
    header = [
        "strategy",
        "seeds",
        "model BWT",
        "policy BWT",
        "model EM",
        "policy success",
        "memory",
    ]
    rows = [
        [
            f"`{name}`",
            str(len(outcomes)),
            *(_measured(outcomes, role, backward_transfer, signed=True) for role in ROLES),
            *(_measured(outcomes, role, average_accuracy) for role in ROLES),
            _share(outcomes),
        ]
        for name, outcomes in study.strategies.items()
    ]
    rows += [
        [label, str(len(entries)), "", "", *(_reference(study, name, role) for role in ROLES), ""]
        for name, label in _REFERENCES.items()
        if (entries := study.references.get(name))
    ]
    return markdown(header, rows)


def learned_table(study: Outcomes) -> str:
    """Plasticity, forgetting from the best score, and what earlier experiences gave later ones."""
    measures: Sequence[tuple[str, Measure, bool]] = (
        ("learning accuracy", learning_accuracy, False),
        ("forgetting", forgetting, True),
        ("FWT", forward_transfer, True),
    )
    header = ["strategy", *(f"{role} {label}" for label, *_ in measures for role in ROLES)]
    rows = [
        [
            f"`{name}`",
            *(
                _measured(outcomes, role, measure, signed=signed)
                for _, measure, signed in measures
                for role in ROLES
            ),
        ]
        for name, outcomes in study.strategies.items()
    ]
    return markdown(header, rows)


def spent_table(study: Outcomes) -> str:
    """What a run of each strategy spent, on average over the seeds."""
    fields: Sequence[tuple[str, Callable[[Outcome], float], Callable[[float], str]]] = (
        ("memory, KiB", lambda outcome: outcome.memory_bytes / 1024, count),
        ("memory, share", lambda outcome: outcome.memory_share, lambda v: percent(v, digits=1)),
        ("real steps", lambda outcome: outcome.real_steps, count),
        ("imagined steps", lambda outcome: outcome.imagined_steps, count),
        ("refused updates", lambda outcome: outcome.refused_updates, lambda v: f"{v:.1f}"),
        ("time", lambda outcome: outcome.seconds, seconds),
    )
    rows = [
        [
            f"`{name}`",
            *(said(math.fsum(map(of, outcomes)) / len(outcomes)) for _, of, said in fields),
        ]
        for name, outcomes in study.strategies.items()
    ]
    return markdown(["strategy", *(label for label, *_ in fields)], rows)


def shortfall_table(study: Outcomes, *, role: str) -> str:
    """Task by task, how many points a strategy ends below joint training; empty without it."""
    rows: list[list[str]] = []
    for name, outcomes in study.strategies.items():
        found = [against_joint(study, outcome, role=role) for outcome in outcomes]
        known = [entry for entry in found if entry is not None]
        if known:
            means = [mean([entry[task] for entry in known]) for task in study.tasks]
            within = sum(_retained(entry) for entry in known)
            rows.append(
                [f"`{name}`", *map(_points, means), f"{within} of {len(known)}"],
            )
    within = f"all within {100 * JOINT_MARGIN:.0f} points, seeds"
    return markdown([f"{role}, points below joint", *study.tasks, within], rows) if rows else ""


def goals_table(study: Outcomes) -> str:
    """In how many seeds each strategy reached what the study set out for."""
    header = [
        "strategy",
        *(f"{role} BWT >= {goal:.2f}" for role, goal in GOALS.items()),
        *(f"{role}: tasks within {100 * JOINT_MARGIN:.0f} points of joint" for role in ROLES),
        f"memory <= {percent(MEMORY_GOAL)}",
        "all of these",
    ]
    rows: list[list[str]] = []
    for name, outcomes in study.strategies.items():
        checks = [goals_reached(study, outcome) for outcome in outcomes]
        num = len(outcomes)
        columns = [*zip(*checks, strict=True), [_all(check) for check in checks]]
        rows.append([f"`{name}`", *(_seeds(column, num=num) for column in columns)])
    return markdown(header, rows)


def goals_reached(study: Outcomes, outcome: Outcome) -> list[bool | None]:
    """Of one seed: both backward transfers, retention of both, memory; None for the unmeasured."""
    found: list[bool | None] = []
    for role, goal in GOALS.items():
        value = backward_transfer(outcome.matrices[role])
        found.append(None if math.isnan(value) else value >= goal - _SLACK)
    for role in ROLES:
        entry = against_joint(study, outcome, role=role)
        found.append(None if entry is None else _retained(entry))
    return [*found, outcome.memory_share <= MEMORY_GOAL + _SLACK]


def verdict(study: Outcomes) -> str:
    """In words: which strategies reached everything in every seed, or how near the best is."""
    if JOINT not in study.references:
        return "Joint training was not run, so it is open which tasks were retained."
    checks = {
        name: [goals_reached(study, outcome) for outcome in outcomes]
        for name, outcomes in study.strategies.items()
    }
    wins = {name: sum(_all(check) is True for check in rows) for name, rows in checks.items()}
    winners = [f"`{name}`" for name, rows in checks.items() if wins[name] == len(rows)]
    if winners:
        return f"**Reached in every seed by {', '.join(winners)}.**"
    if not any(wins.values()):
        best = max(
            checks, key=lambda name: sum(value is True for row in checks[name] for value in row)
        )
        total = sum(len(row) for row in checks[best])
        met = sum(value is True for row in checks[best] for value in row)
        return (
            "**Not reached: no strategy meets all goals in any seed.** The nearest is "
            f"`{best}`, which meets {met} of {total} (goals times seeds)."
        )
    best = max(wins, key=lambda name: wins[name] / len(checks[name]))
    return (
        f"**Not reached in every seed.** The nearest is `{best}`: all goals in {wins[best]} of "
        f"{len(checks[best])} seeds."
    )


def _retained(entry: dict[str, float]) -> bool:
    """A task that was not measured is not retained."""
    return all(value <= JOINT_MARGIN + _SLACK for value in entry.values())


def _all(check: Sequence[bool | None]) -> bool | None:
    return None if None in check else all(check)


def _seeds(column: Sequence[bool | None], *, num: int) -> str:
    return "n/a" if None in column else f"{sum(bool(value) for value in column)} of {num}"


def _measured(
    outcomes: Sequence[Outcome], role: str, measure: Measure, *, signed: bool = False
) -> str:
    return rate_cell(interval(outcomes, role=role, measure=measure), signed=signed)


def _reference(study: Outcomes, name: str, role: str) -> str:
    entries = study.references[name]
    values = [math.fsum(row.scores[role]) / len(row.scores[role]) for row in entries]
    return rate_cell(mean(values))


def _share(outcomes: Sequence[Outcome]) -> str:
    return percent(max(outcome.memory_share for outcome in outcomes), digits=1)


def rate_cell(rate: Rate | None, *, signed: bool = False) -> str:
    """`0.912 [0.900, 0.924]`; with a sign where it is a difference; `n/a` for the unknown."""
    if rate is None:
        return "n/a"
    form = "+.3f" if signed else ".3f"
    found = f"{rate.rate:{form}}"
    if rate.low is not None and rate.high is not None:
        found += f" [{rate.low:{form}}, {rate.high:{form}}]"
    return found


def _points(rate: Rate | None) -> str:
    return "n/a" if rate is None else f"{100 * rate.rate:+.1f}"


__all__ = [
    "GOALS",
    "MEMORY_GOAL",
    "goals_reached",
    "goals_table",
    "kept_table",
    "learned_table",
    "markdown",
    "rate_cell",
    "shortfall_table",
    "spent_table",
    "verdict",
]
