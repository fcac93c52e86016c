"""Whether two runs came to the same end: the ledger, the rounds, and every committed trajectory.

Texts, tokens, rewards and stops must be equal. Log-probabilities may differ in their last bits,
which depend on who spoke in the same batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dyna import checkpoint
from dyna.files import read_json
from dyna.replay.parquet import read_trajectories
from dyna.tracking import read_metrics
from dyna.types import Trajectory

NOTED = "noted"
"""The folder of the groups that were learned from, beside the run's own."""
_TOLERANCE = 1e-4
_MAX_TOLD = 3


def differences(run: Path, *, expected: Path, group_sizes: dict[str, int]) -> list[str]:
    """What is not as in `expected`, in words; empty when all is."""
    told = [*_rounds(run, expected=expected), *_ledger(run, expected=expected)]
    for folder in ("run/experience", NOTED):
        told += _folder(run / folder, expected=expected / folder)
    told += _broken_groups(run / NOTED, sizes=group_sizes)
    return told if len(told) <= _MAX_TOLD else [*told[:_MAX_TOLD], f"and {len(told) - 3} more"]


def committed(folder: Path) -> dict[str, Trajectory]:
    """The trajectories of a folder's files, by id. Raises `ValueError` where one is there twice."""
    found: dict[str, Trajectory] = {}
    for path in sorted(folder.glob("*.parquet")):
        for trajectory in read_trajectories(path):
            if trajectory.id in found:
                raise ValueError(f"{trajectory.id} is committed twice, the second time in {path}")
            found[trajectory.id] = trajectory
    return found


def _rounds(run: Path, *, expected: Path) -> Iterator[str]:
    ours, theirs = _counts(run), _counts(expected)
    if [round for round, _ in ours] != [round for round, _ in theirs]:
        yield f"rounds {[round for round, _ in ours]}, not {[round for round, _ in theirs]}"
        return
    for (round, mine), (_, other) in zip(ours, theirs, strict=True):
        for name in sorted(mine.keys() | other.keys()):
            if mine.get(name) != other.get(name):
                yield f"round {round}: {name} is {mine.get(name)}, not {other.get(name)}"


def _counts(run: Path) -> list[tuple[int, dict[str, float]]]:
    """Of every round what must be equal to the last bit."""
    return [
        (round, {name: value for name, value in metrics.items() if name.startswith("ledger/")})
        for round, metrics in read_metrics(run / "run")
    ]


def _ledger(run: Path, *, expected: Path) -> Iterator[str]:
    saved = [checkpoint.latest(place / "run") for place in (run, expected)]
    if saved[0] is None or saved[1] is None:
        yield "there is no whole checkpoint"
        return
    mine, other = (read_json(place / "ledger" / "ledger.json") for place in saved if place)
    if mine != other:
        yield f"the saved ledger differs: {mine}, not {other}"


def _folder(place: Path, *, expected: Path) -> Iterator[str]:
    mine, other = committed(place), committed(expected)
    if mine.keys() != other.keys():
        yield f"{place.name}: only one of the runs has {sorted(mine.keys() ^ other.keys())[:4]}"
    for id in sorted(mine.keys() & other.keys()):
        if _story(mine[id]) != _story(other[id]):
            yield f"{place.name}: {id} went otherwise: {_short(mine[id])}, not {_short(other[id])}"
        elif (gap := _gap(mine[id], other[id])) > _TOLERANCE:
            yield f"{place.name}: the log-probs of {id} differ by {gap:.2g}"


def _story(trajectory: Trajectory) -> list[Any]:
    """All of it but log-probabilities; they decide the last bits of a prediction's confidence."""
    head = (
        *(trajectory.task, trajectory.start, trajectory.stop, trajectory.source),
        *(trajectory.branch_point, trajectory.round, trajectory.group_id, trajectory.behavior),
        *(trajectory.policy_version, trajectory.model_version, trajectory.error),
    )
    turns = [
        (
            *(turn.action.command, turn.action.token_ids, turn.outcome.observation),
            *(turn.outcome.reward, turn.outcome.terminated, turn.outcome.success),
            *(turn.outcome.stop, turn.outcome.token_ids, turn.outcome.valid),
        )
        for turn in trajectory.turns
    ]
    return [head, *turns]


def _gap(mine: Trajectory, other: Trajectory) -> float:
    pairs = zip(mine.turns, other.turns, strict=True)
    gaps = [
        abs(ours - theirs)
        for a, b in pairs
        for ours, theirs in zip(a.action.log_probs, b.action.log_probs, strict=True)
    ]
    return max(gaps, default=0.0)


def _short(trajectory: Trajectory) -> str:
    commands = [turn.action.command for turn in trajectory.turns]
    return f"{trajectory.stop} after {commands}, reward {trajectory.total_reward:g}"


def _broken_groups(place: Path, *, sizes: dict[str, int]) -> Iterator[str]:
    """Groups that are not whole; `sizes` are those of real and imagined ones, by source."""
    for path in sorted(place.glob("*.parquet")):
        group = read_trajectories(path)
        size = sizes[group[0].source.value]
        if len(group) != size:
            yield f"{path.stem} was learned from with {len(group)} of {size} members"


__all__ = ["NOTED", "committed", "differences"]
