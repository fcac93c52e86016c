"""Back to an earlier world model, all else going on: `dyna rollback RUN [--to ROUND]`.

The newest checkpoint is written anew with the world model of an earlier one. What was spent, what
was seen and what the policy learned stay as they are; the next round begins with that model.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dyna import checkpoint
from dyna.files import read_json, write_json
from dyna.rllib.parts import WORLD_MODEL
from experiments.watch import STATE_FILE
from worldmodels.earlier import EarlierModel, rolled_back_to, version_of

RECORD = "rollbacks.json"


class RollbackError(ValueError):
    """There is nothing to go back to, or it is not the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    round: int
    """Of the checkpoint that was written anew."""
    to: int
    """Of the checkpoint that the model is from."""
    version: int
    """Of the model from now on."""


class _Unchanged:
    """A part of a checkpoint, copied."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, folder: str) -> None:
        shutil.copytree(self._folder, folder, dirs_exist_ok=True)


def rollback(run: Path, *, to: int | None = None) -> Rollback:
    """Make the model of round `to` live; by default the one that was live before the newest.

    Raises `RollbackError` where that checkpoint is not kept or nothing would change, and
    `CheckpointError` for one that is not whole.
    """
    _refuse_while_running(run)
    newest = checkpoint.latest(run)
    if newest is None:
        raise checkpoint.CheckpointError(f"{run} has no whole checkpoint; nothing is trained yet")
    parts: list[str] = checkpoint.verify(newest)["parts"]
    if WORLD_MODEL not in parts:
        raise RollbackError(f"the world model of {run} does not learn: it has no earlier state")
    then = _chosen(run, newest=newest, to=to)
    checkpoint.verify(then)
    earlier = EarlierModel(
        now=newest / WORLD_MODEL, then=then / WORLD_MODEL, round=checkpoint.round_of(then)
    )
    saved: dict[str, checkpoint.Saved] = {name: _Unchanged(newest / name) for name in parts}
    done = Rollback(
        round=checkpoint.round_of(newest), to=checkpoint.round_of(then), version=earlier.version
    )
    checkpoint.save(run, round=done.round, parts={**saved, WORLD_MODEL: earlier})
    _record(run, done=done)
    return done


def _chosen(run: Path, *, newest: Path, to: int | None) -> Path:
    kept = _kept(run)
    rounds = ", ".join(str(round) for round in kept)
    now = checkpoint.round_of(newest)
    if to is not None:
        if to not in kept:
            raise RollbackError(
                f"the checkpoint of round {to} is not kept: {run} has those of {rounds}; "
                "tracking.keep_checkpoints says how many a run keeps"
            )
        if to >= now:
            raise RollbackError(f"round {to} is the newest; name one of the earlier of {rounds}")
        return kept[to]
    # Once gone back, the next way back leads further.
    place = rolled_back_to(newest / WORLD_MODEL)
    now = now if place is None else min(now, place)
    live = version_of(kept.get(now, newest) / WORLD_MODEL)
    for round in sorted(kept, reverse=True):
        if round < now and version_of(kept[round] / WORLD_MODEL) != live:
            return kept[round]
    raise RollbackError(
        f"no other world model than that of round {now} is kept: {run} has the checkpoints of "
        f"{rounds}; tracking.keep_checkpoints says how many a run keeps"
    )


def _kept(run: Path) -> dict[int, Path]:
    """The checkpoints that were finished, by round, oldest first."""
    folders = checkpoint.checkpoints_folder(run).glob("round_*")
    found = {checkpoint.round_of(p): p for p in folders if (p / checkpoint.MARKER).is_file()}
    return dict(sorted(found.items()))


def _refuse_while_running(run: Path) -> None:
    try:
        state: dict[str, Any] = json.loads((run / STATE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    if state["status"] not in ("running", "recovering"):
        return
    try:
        os.kill(int(state["pid"]), 0)  # asks whether it is there
    except ProcessLookupError:
        return
    raise RollbackError(f"{run} is running as process {state['pid']}; stop it first")


def _record(run: Path, *, done: Rollback) -> None:
    path = run / RECORD
    before: list[Any] = read_json(path) if path.is_file() else []
    entry = {"round": done.round, "to": done.to, "version": done.version}
    write_json(path, value=[*before, entry])


__all__ = ["RECORD", "Rollback", "RollbackError", "rollback"]
