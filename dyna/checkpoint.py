"""The whole state of a run, saved between two rounds: all of it, or nothing.

A checkpoint is a folder with one sub-folder per part, and `complete.json`, written last, with the
size and hash of every file. It is built beside its final place, forced to the disk and then
renamed, so that a kill or a full disk at any moment leaves the previous checkpoint as it was.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dyna.files import DamagedFileError, read_json, sync, write_json
from dyna.protocols import Stateful

MARKER = "complete.json"

_PART = re.compile(r"[a-z][a-z0-9_]*")
_ROUND = re.compile(r"(?:round|replaced)_(\d{6,})")
"""`replaced_` is one that a newer save of its round was about to replace when it was killed."""
_RUNS_CODE_WHEN_READ = frozenset({".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib"})
_log = logging.getLogger(__name__)


class CheckpointError(DamagedFileError):
    """A checkpoint that is not whole, or does not hold what is asked of it."""


class Saved(Protocol):
    """What a checkpoint needs of a part to write it."""

    def save(self, folder: str) -> None: ...


def save(run: str | Path, *, round: int, parts: Mapping[str, Saved]) -> Path:
    """Write `<run>/checkpoints/round_<round>` and return it; one of that round is replaced.

    Raises what a part raises and `OSError` when the disk refuses; earlier checkpoints are intact
    then and nothing half-written stays behind. Raises `ValueError` for a part's file in a pickle
    format.
    """
    for name in parts:
        if not _PART.fullmatch(name):
            raise ValueError(f"part name {name!r} must be lower-case letters, digits and _")
    folder = checkpoints_folder(run)
    folder.mkdir(parents=True, exist_ok=True)
    _tidy(folder)
    final = folder / f"round_{round:06d}"
    draft = folder / f"draft_{round:06d}"
    try:
        for name, part in parts.items():
            (draft / name).mkdir(parents=True)
            part.save(str(draft / name))
        _seal(draft, round=round, parts=sorted(parts))
        _replace(final, draft=draft)
    except OSError as error:
        told = OSError(
            f"checkpoint of round {round} was not written ({error}); make room on the disk of "
            f"{folder}; earlier checkpoints are intact"
        )
        told.errno = error.errno
        raise told from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return final


def latest(run: str | Path) -> Path | None:
    """The newest whole checkpoint, None if there is none; damaged ones are skipped and logged.

    Only reads, so it may be called while another process writes.
    """
    folder = checkpoints_folder(run)
    if not folder.is_dir():
        return None
    for path in _newest_first(folder):
        try:
            verify(path)
        except CheckpointError as error:
            _log.warning("skipping a checkpoint: %s", error)
            continue
        return path
    return None


def restore(folder: str | Path, *, parts: Mapping[str, Stateful], partial: bool = False) -> int:
    """Load every part, after checking every file, and return the round.

    Raises `CheckpointError` if the folder is not whole or its parts are not those asked for; with
    `partial` it may hold more, for readers such as an evaluation that need only some.
    """
    marker = verify(folder)
    saved = set(marker["parts"])
    if not saved >= set(parts) or (saved != set(parts) and not partial):
        raise CheckpointError(
            f"checkpoint {folder} holds the parts {sorted(saved)}, the run has {sorted(parts)}; "
            "resume with the configuration that the run began with"
        )
    for name, part in parts.items():
        part.load(str(Path(folder) / name))
    return int(marker["round"])


def verify(folder: str | Path) -> dict[str, Any]:
    """Check every file against the marker, and return the marker. Raises `CheckpointError`."""
    folder = Path(folder)
    try:
        marker: dict[str, Any] = read_json(folder / MARKER)
        listed: dict[str, dict[str, Any]] = marker["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            _damaged(folder, f"its marker {MARKER} is missing or broken")
        ) from error
    for name, expected in listed.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(_damaged(folder, f"{name} is missing"))
        if path.stat().st_size != expected["bytes"]:
            found = f"{name} has {path.stat().st_size} bytes instead of {expected['bytes']}"
            raise CheckpointError(_damaged(folder, found))
        if _hash(path) != expected["blake2b"]:
            raise CheckpointError(_damaged(folder, f"the content of {name} has changed"))
    return marker


def prune(run: str | Path, *, keep: int) -> None:
    """Delete all but the newest `keep` whole checkpoints, and damaged ones older than those."""
    if keep < 1:
        raise ValueError(f"checkpoints to keep must be >= 1, got {keep}")
    kept = 0
    for path in _newest_first(checkpoints_folder(run)):
        if kept >= keep:
            shutil.rmtree(path)
        else:
            kept += (path / MARKER).is_file()


def checkpoints_folder(run: str | Path) -> Path:
    return Path(run) / "checkpoints"


def round_of(folder: Path) -> int:
    match = _ROUND.fullmatch(folder.name)
    if match is None:
        raise ValueError(f"{folder} is no checkpoint folder; its name must be round_<number>")
    return int(match[1])


def _newest_first(folder: Path) -> list[Path]:
    found = [path for path in folder.iterdir() if _ROUND.fullmatch(path.name)]
    return sorted(found, key=lambda path: (round_of(path), path.name), reverse=True)


def _tidy(folder: Path) -> None:
    """Undo what a killed process left half done; one process writes a run's checkpoints."""
    for draft in folder.glob("draft_*"):
        _log.warning("removing %s, left by a process that was killed", draft)
        shutil.rmtree(draft)
    for aside in folder.glob("replaced_*"):
        final = folder / aside.name.replace("replaced_", "round_")
        if final.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(final)


def _seal(draft: Path, *, round: int, parts: list[str]) -> None:
    files: dict[str, dict[str, Any]] = {}
    folders = [draft]
    for path in sorted(draft.rglob("*")):
        if path.is_dir():
            folders.append(path)
            continue
        name = path.relative_to(draft).as_posix()
        if path.suffix in _RUNS_CODE_WHEN_READ:
            raise ValueError(
                f"checkpoint part file {name} is in a pickle format, which runs code when read; "
                "save weights as safetensors and state as JSON or Parquet"
            )
        sync(path)
        files[name] = {"bytes": path.stat().st_size, "blake2b": _hash(path)}
    for path in folders:
        sync(path)
    write_json(draft / MARKER, value={"round": round, "parts": parts, "files": files})


def _replace(final: Path, *, draft: Path) -> None:
    aside = final.with_name(final.name.replace("round_", "replaced_"))
    if final.exists():
        final.rename(aside)
    draft.rename(final)
    sync(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _damaged(folder: Path, what: str) -> str:
    return (
        f"checkpoint {folder} is not whole: {what}; resume from another one in "
        f"{folder.parent}, or delete it"
    )
