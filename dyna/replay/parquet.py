"""Trajectories as Parquet: one row per episode, its turns nested, provenance in plain columns.

Any Parquet reader opens the files. Reading gives back trajectories equal in every field to those
written; a file is written whole or not at all, and its pages carry checksums.
"""

# pyarrow carries no types: what it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dyna.files import DamagedFileError, replacing
from dyna.replay.codec import encode, write_params
from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn

_log = logging.getLogger(__name__)

ROWS_PER_GROUP = 256
"""Episodes converted at a time, which bounds the memory of reading and writing."""

_FORMAT = {b"dyna.format": b"trajectories/1"}
_STRINGS = pa.list_(pa.string())
_TURN: dict[str, tuple[Any, Callable[[Turn], Any]]] = {
    "command": (pa.string(), lambda t: t.action.command),
    "text": (pa.string(), lambda t: t.action.text),
    "token_ids": (pa.list_(pa.int64()), lambda t: t.action.token_ids),
    "log_probs": (pa.list_(pa.float64()), lambda t: t.action.log_probs),
    "policy_version": (pa.int64(), lambda t: t.action.policy_version),
    "observation": (pa.string(), lambda t: t.outcome.observation),
    "reward": (pa.float64(), lambda t: t.outcome.reward),
    "terminated": (pa.bool_(), lambda t: t.outcome.terminated),
    "success": (pa.bool_(), lambda t: t.outcome.success),
    "stop": (pa.string(), lambda t: t.outcome.stop),
    "valid": (pa.bool_(), lambda t: t.outcome.valid),
    "admissible": (_STRINGS, lambda t: t.outcome.admissible),
    "confidence": (pa.float64(), lambda t: t.outcome.confidence),
    "answer_token_ids": (pa.list_(pa.int64()), lambda t: t.outcome.token_ids),
}
_EPISODE: dict[str, tuple[Any, Callable[[Trajectory], Any]]] = {
    "id": (pa.string(), lambda t: t.id),
    "source": (pa.string(), lambda t: t.source),
    "stop": (pa.string(), lambda t: t.stop),
    "round": (pa.int64(), lambda t: t.round),
    "behavior": (pa.string(), lambda t: t.behavior),
    "group_id": (pa.string(), lambda t: t.group_id),
    "policy_version": (pa.int64(), lambda t: t.policy_version),
    "model_version": (pa.int64(), lambda t: t.model_version),
    "branch_point": (pa.int64(), lambda t: t.branch_point),
    "error": (pa.string(), lambda t: t.error),
    "task_id": (pa.string(), lambda t: t.task.id),
    "task_world": (pa.string(), lambda t: t.task.world),
    "task_family": (pa.string(), lambda t: t.task.family),
    "task_split": (pa.string(), lambda t: t.task.split),
    "task_seed": (pa.int64(), lambda t: t.task.seed),
    "task_params": (pa.string(), lambda t: write_params(t.task)),
    "start_observation": (pa.string(), lambda t: t.start.observation),
    "start_hidden_state": (pa.string(), lambda t: t.start.hidden_state),
    "start_admissible": (_STRINGS, lambda t: t.start.admissible),
}
_TURN_TYPE = pa.struct([(name, kind) for name, (kind, _) in _TURN.items()])
_SCHEMA = pa.schema(
    [*((name, kind) for name, (kind, _) in _EPISODE.items()), ("turns", pa.list_(_TURN_TYPE))],
    metadata=_FORMAT,
)
_FIELDS = [(field.name, field) for field in _SCHEMA]


class TrajectoryFileError(DamagedFileError):
    """A file that was to hold trajectories does not, or not whole."""


def write_trajectories(
    path: str | Path,
    trajectories: Iterable[Trajectory],
    *,
    columns: Mapping[str, Callable[[Trajectory], str | int]] | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Write them in order; the file appears under its name only when it is whole.

    `columns` adds columns of text, or of whole numbers where the name ends in `_seed`, that are
    for other readers and not read back here; `notes` go into the file's metadata (`read_notes`).
    Raises `ValueError` naming the trajectory for a value that would not come back equal, and
    `OSError` when the disk refuses; an older file of that name is then left as it was.
    """
    path, columns = Path(path), columns or {}
    remaining = iter(trajectories)
    extra = [(name, pa.int64() if name.endswith("_seed") else pa.string()) for name in columns]
    metadata = _FORMAT | {key.encode(): text.encode() for key, text in (notes or {}).items()}
    schema = pa.schema([*_SCHEMA, *(pa.field(name, kind) for name, kind in extra)], metadata)
    with (
        replacing(path) as draft,
        pq.ParquetWriter(
            draft, schema, compression="zstd", store_schema=True, write_page_checksum=True
        ) as writer,
    ):
        while chunk := list(islice(remaining, ROWS_PER_GROUP)):
            batch = _batch(chunk)
            added = [pa.array([columns[n](t) for t in chunk], kind) for n, kind in extra]
            writer.write_batch(pa.record_batch([*batch.columns, *added], schema=schema))


def read_notes(path: str | Path) -> dict[str, str]:
    """The `notes` that a file was written with, and its format. Errors as `iter_trajectories`."""
    with _opened(Path(path)) as file:
        metadata = file.schema_arrow.metadata or {}
    return {key.decode(): text.decode() for key, text in metadata.items() if key != b"ARROW:schema"}


def read_columns(path: str | Path, *, names: Sequence[str]) -> list[dict[str, Any]]:
    """Some columns, one dict per episode. Raises `KeyError` for one that the file lacks."""
    with _opened(Path(path)) as file:
        if absent := [name for name in names if name not in file.schema_arrow.names]:
            raise KeyError(f"{path} has no column {absent[0]!r}")
        return file.read(columns=list(names)).to_pylist()


def read_trajectories(path: str | Path) -> list[Trajectory]:
    """All of them, in order. Errors as for `iter_trajectories`."""
    return list(iter_trajectories(path))


def iter_parts(paths: Iterable[str | Path], *, skip_damaged: bool = False) -> Iterator[Trajectory]:
    """What several files hold, one file after the other.

    Errors as for `iter_trajectories`. With `skip_damaged` a file that is damaged is left out whole,
    and the log names it and says how many were.
    """
    num_parts = num_damaged = 0
    for path in paths:
        num_parts += 1
        if not skip_damaged:
            yield from iter_trajectories(path)
            continue
        try:
            found = read_trajectories(path)
        except TrajectoryFileError as error:
            num_damaged += 1
            _log.warning("left out, as asked: %s", error)
        else:
            yield from found
    if num_damaged:
        _log.warning("%d of %d parts were damaged and left out", num_damaged, num_parts)


def iter_trajectories(path: str | Path) -> Iterator[Trajectory]:
    """One after the other, with a few hundred in memory at a time.

    Raises `FileNotFoundError` for a missing file and `TrajectoryFileError` for one that is cut
    off, damaged or not ours.
    """
    with _opened(Path(path)) as file:
        for batch in file.iter_batches(batch_size=ROWS_PER_GROUP, columns=_SCHEMA.names):
            yield from _trajectories(batch)


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    """A Parquet file of ours; every error in the block that the file is to blame for names it."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no trajectory file at {path}; write one with write_trajectories, or check the path"
        )
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _check_schema(file.schema_arrow, path=path)
            yield file
    except PermissionError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise TrajectoryFileError(
            f"{path} is not a whole Parquet file ({error}); it was cut off or damaged: restore it "
            "from a copy or an older checkpoint"
        ) from error


def _check_schema(schema: Any, *, path: Path) -> None:
    found = (schema.metadata or {}).get(b"dyna.format")
    ours = all(name in schema.names and schema.field(name).equals(field) for name, field in _FIELDS)
    if found != _FORMAT[b"dyna.format"] or not ours:
        raise TrajectoryFileError(
            f"{path} is Parquet but holds no trajectories of this version (format "
            f"{found.decode() if found else 'unknown'}, expected trajectories/1); "
            "give a file written by write_trajectories"
        )


def _batch(trajectories: Sequence[Trajectory]) -> Any:
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    ends = [0]
    for trajectory in trajectories:
        ends.append(ends[-1] + len(trajectory.turns))
    try:
        nested = pa.ListArray.from_arrays(
            pa.array(ends, pa.int32()),
            pa.StructArray.from_arrays(
                [pa.array([get(turn) for turn in turns], kind) for kind, get in _TURN.values()],
                fields=list(_TURN_TYPE),
            ),
        )
        columns = [
            pa.array([get(trajectory) for trajectory in trajectories], kind)
            for kind, get in _EPISODE.values()
        ]
    except (UnicodeEncodeError, OverflowError, pa.ArrowInvalid):
        for trajectory in trajectories:
            encode(trajectory)  # names the culprit and the remedy
        raise
    return pa.record_batch([*columns, nested], schema=_SCHEMA)


def _trajectories(batch: Any) -> Iterator[Trajectory]:
    columns = {name: batch.column(name).to_pylist() for name in _EPISODE}
    nested = batch.column("turns")
    struct = nested.flatten()
    fields = [array.to_pylist() for array in struct.flatten()]
    turns = [_turn(dict(zip(_TURN, values, strict=True))) for values in zip(*fields, strict=True)]
    lengths = nested.value_lengths().to_pylist()
    remaining = iter(turns)
    for values, length in zip(zip(*columns.values(), strict=True), lengths, strict=True):
        row = dict(zip(columns, values, strict=True))
        yield _trajectory(row, turns=tuple(islice(remaining, length)))


def _turn(row: dict[str, Any]) -> Turn:
    return Turn(
        action=Action(
            command=row["command"],
            text=row["text"],
            token_ids=tuple(row["token_ids"]),
            log_probs=tuple(row["log_probs"]),
            policy_version=row["policy_version"],
        ),
        outcome=Outcome(
            observation=row["observation"],
            reward=row["reward"],
            terminated=row["terminated"],
            success=row["success"],
            stop=None if row["stop"] is None else StopReason(row["stop"]),
            valid=row["valid"],
            admissible=None if row["admissible"] is None else tuple(row["admissible"]),
            confidence=row["confidence"],
            token_ids=tuple(row["answer_token_ids"]),
        ),
    )


def _trajectory(row: dict[str, Any], *, turns: tuple[Turn, ...]) -> Trajectory:
    commands = row["start_admissible"]
    return Trajectory(
        id=row["id"],
        task=Task(
            id=row["task_id"],
            world=row["task_world"],
            family=row["task_family"],
            split=row["task_split"],
            seed=row["task_seed"],
            params=json.loads(row["task_params"]),
        ),
        start=Start(
            observation=row["start_observation"],
            hidden_state=row["start_hidden_state"],
            admissible=None if commands is None else tuple(commands),
        ),
        turns=turns,
        stop=StopReason(row["stop"]),
        source=Source(row["source"]),
        branch_point=row["branch_point"],
        policy_version=row["policy_version"],
        model_version=row["model_version"],
        round=row["round"],
        group_id=row["group_id"],
        behavior=row["behavior"],
        error=row["error"],
    )
