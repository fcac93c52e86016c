"""The folder of a collection: what is in it already, what is written, and when it is whole.

    config.yaml  train-00000.parquet ...  manifest.json  coverage.json  ledger.json  seconds.json

A part is there whole or not at all, and says itself which collection it belongs to and how long it
took; all the rest is counted from the parts, so nothing can be torn.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dyna.configuring import dump, save
from dyna.files import write_json
from dyna.replay.parquet import (
    TrajectoryFileError,
    iter_parts,
    read_notes,
    read_trajectories,
    write_trajectories,
)
from dyna.types import Trajectory
from experiments.collecting.config import CollectConfig, load_saved_collect
from experiments.collecting.players import Played
from experiments.collecting.schedule import PART_PATTERN, Part, Schedule

_log = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
MANIFEST_FILE = "manifest.json"
FORMAT = "dyna.collection/1"
NOTE = "dyna.provenance"
_MAY_DIFFER = ("num_workers", "max_concurrent", "address")
"""How it is played, not what: these may change when a collection is continued."""


class FolderError(ValueError):
    """The folder cannot be used for this collection."""


class CollectionFolder:
    """Example: `folder = CollectionFolder(path); folder.open(config)`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self, config: CollectConfig) -> None:
        """Make the folder, or see that what it holds was begun with the same config.

        Raises `FolderError` naming the key that differs, and `ConfigError` for half a config.
        """
        saved = self.path / CONFIG_FILE
        if saved.exists():
            if difference := _difference(load_saved_collect(saved), config):
                raise FolderError(
                    f"{self.path} holds a collection begun with another config ({difference}); "
                    "continue it with its own, or choose another folder with --out"
                )
        elif self.path.is_dir() and any(self.path.glob(PART_PATTERN)):
            raise FolderError(
                f"{self.path} holds files of episodes but no {CONFIG_FILE}; choose another folder"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            save(config, path=saved)
        except OSError as error:
            raise FolderError(f"cannot write into {self.path}: {error}") from None

    def kept(self, schedule: Schedule, *, skip_damaged: bool = False) -> Iterator[Played]:
        """The parts that are there. Raises `TrajectoryFileError` for one that is damaged, and
        `FolderError` for one of another schedule.

        With `skip_damaged` a damaged one is put aside as `*.damaged`, and so is missing.
        """
        num_damaged = 0
        for part in schedule.parts:
            path = self.path / part.file
            if not path.exists():
                continue
            try:
                note: Mapping[str, Any] = json.loads(read_notes(path).get(NOTE, "{}"))
                trajectories = read_trajectories(path)
            except TrajectoryFileError as error:
                if not skip_damaged:
                    raise TrajectoryFileError(
                        f"{error}; or have it put aside, and its episodes played again, with "
                        "--skip-damaged"
                    ) from error
                num_damaged += 1
                path.replace(path.with_name(f"{path.name}.damaged"))
                _log.warning("put aside, as asked: %s", error)
                continue
            told = [(t.id, t.task.id, t.behavior) for t in trajectories]
            if told != [(s.episode_id, s.task.id, s.behavior) for s in part.specs]:
                raise FolderError(
                    f"{path} holds other episodes than this collection plans, so the world or this "
                    "package has changed since; choose another folder with --out"
                )
            seconds = float(note.get("seconds", 0.0))
            yield Played(part=part, trajectories=trajectories, seconds=seconds)
        if num_damaged:
            _log.warning("%d damaged parts were put aside; they are played again", num_damaged)

    def write(self, played: Played, *, provenance: Mapping[str, Any]) -> None:
        seeds = {spec.episode_id: spec.seed for spec in played.part.specs}
        note = {
            **provenance,
            "split": played.part.split,
            "seconds": played.seconds,
            "written_at": now(),
        }
        write_trajectories(
            self.path / played.part.file,
            played.trajectories,
            columns={
                "task_fingerprint": lambda t: played.fingerprints.get(t.task.id, ""),
                "episode_seed": lambda t: seeds[t.id],
            },
            notes={NOTE: json.dumps(note)},
        )

    def finish(
        self,
        schedule: Schedule,
        *,
        provenance: Mapping[str, Any],
        coverage: Sequence[Mapping[str, Any]],
        counts: Mapping[str, Mapping[str, int]],
    ) -> Path:
        """Write `coverage.json` and then `manifest.json`, which says that all is there.

        `counts` has, by file, what it holds.
        """
        write_json(self.path / "coverage.json", value=list(coverage))
        manifest = {
            "format": FORMAT,
            "finished_at": now(),
            **provenance,
            "shares": dict(schedule.shares),
            "episodes": schedule.num_episodes,
            "fingerprints": schedule.tells_games,
            "parts": [
                {"file": part.file, "split": part.split, **counts[part.file]}
                for part in schedule.parts
            ],
        }
        write_json(self.path / MANIFEST_FILE, value=manifest)
        return self.path / MANIFEST_FILE


def collected(folder: Path, *, skip_damaged: bool = False) -> Iterator[Trajectory]:
    """Every episode of a folder, part by part; `skip_damaged` as for `iter_parts`.

    Raises `FolderError` if there is no part at all.
    """
    paths = sorted(folder.glob(PART_PATTERN))
    if not paths:
        raise FolderError(
            f"{folder} holds no collected episodes (files such as train-00000.parquet)"
        )
    yield from iter_parts(paths, skip_damaged=skip_damaged)


def missing_parts(folder: CollectionFolder, *, schedule: Schedule) -> list[Part]:
    return [part for part in schedule.parts if not (folder.path / part.file).exists()]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _difference(old: CollectConfig, new: CollectConfig) -> str:
    """The first key whose value differs, in words; empty if what is played is the same."""
    changes: dict[str, Any] = {name: getattr(new, name) for name in _MAY_DIFFER}
    before, after = dump(replace(old, **changes)), dump(new)
    if before == after:
        return ""
    names = [f.name for f in fields(old) if getattr(old, f.name) != getattr(new, f.name)]
    name = next(name for name in names if name not in _MAY_DIFFER)
    return f"{name} was {getattr(old, name)!r}, is {getattr(new, name)!r}"


__all__ = [
    "CONFIG_FILE",
    "FORMAT",
    "MANIFEST_FILE",
    "NOTE",
    "CollectionFolder",
    "FolderError",
    "collected",
    "missing_parts",
]
