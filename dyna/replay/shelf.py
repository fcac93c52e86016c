"""What the buffers share: a shelf of encoded trajectories in the order they came.

A buffer decides what to forget; the shelf holds, counts, decodes, saves and loads. Nothing is
held twice and nothing outside the shelf, so its count of bytes is the buffer's.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from dyna.files import read_json, write_json
from dyna.replay.attachments import Attachments
from dyna.replay.codec import decode, encode
from dyna.replay.parquet import iter_trajectories, write_trajectories
from dyna.types import Source, Trajectory

_SERIAL = attrgetter("serial")
_ATTACHMENTS = "attachments.parquet"
_ENTRY_BYTES = 300
"""Of one `Entry` object, its numbers and its places in lists, beside its blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One trajectory on the shelf."""

    serial: int
    """The how-manieth trajectory ever offered; orders the shelf."""
    key: float
    """Drawn once, in [0, 1); buffers that keep a random sample keep the smallest."""
    id: str
    """Of the trajectory."""
    num_turns: int
    kind: str
    """What a balanced buffer shares its room by."""
    blob: bytes
    extra_bytes: int = 0
    """What its buffer keeps of it beside the shelf."""

    @property
    def num_bytes(self) -> int:
        return sys.getsizeof(self.blob) + sys.getsizeof(self.id) + _ENTRY_BYTES + self.extra_bytes


class Shelf:
    """Entries in order of serial, with running totals."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.attachments = Attachments()
        """What is kept of entries beside them, by serial."""
        self.num_turns = 0
        self._num_bytes = 0

    @property
    def num_bytes(self) -> int:
        return self._num_bytes + self.attachments.num_bytes

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, entry: Entry) -> None:
        if self.entries and entry.serial < self.entries[-1].serial:
            insort(self.entries, entry, key=_SERIAL)
        else:
            self.entries.append(entry)
        self.num_turns += entry.num_turns
        self._num_bytes += entry.num_bytes

    def take(self, entry: Entry) -> None:
        del self.entries[bisect_left(self.entries, entry.serial, key=_SERIAL)]
        self.attachments.drop(entry.serial)
        self.num_turns -= entry.num_turns
        self._num_bytes -= entry.num_bytes

    def trajectories(self) -> Iterator[Trajectory]:
        """Decoded one at a time, oldest first."""
        return (decode(entry.blob) for entry in self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much a shelf may hold; both bounds hold at any time."""

    max_transitions: int
    max_bytes: int

    def __post_init__(self) -> None:
        for name in ("max_transitions", "max_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"replay {name} must be >= 1, got {getattr(self, name)}")

    def exceeded_by(self, shelf: Shelf) -> bool:
        return shelf.num_turns > self.max_transitions or shelf.num_bytes > self.max_bytes

    def check_fits(self, entry: Entry, *, trajectory: Trajectory) -> None:
        if entry.num_turns > self.max_transitions or entry.num_bytes > self.max_bytes:
            raise ValueError(
                f"trajectory {trajectory.id!r} of {entry.num_turns} turns and {entry.num_bytes} "
                f"bytes is larger than the whole replay buffer ({self.max_transitions} "
                f"transitions, {self.max_bytes} bytes); raise max_transitions or max_bytes"
            )


def kind_of(trajectory: Trajectory) -> str:
    """World and task family."""
    return f"{trajectory.task.world}/{trajectory.task.family}"


def make_entry(
    trajectory: Trajectory, *, serial: int, key: float, kind: str, extra_bytes: int
) -> Entry:
    return Entry(
        serial=serial,
        key=key,
        id=trajectory.id,
        num_turns=len(trajectory.turns),
        kind=sys.intern(kind),
        blob=encode(trajectory),
        extra_bytes=extra_bytes,
    )


def check_admissible(trajectory: Trajectory, *, accept_rehearsed: bool) -> None:
    """Raises `ValueError` unless the trajectory is experience a world model may learn from."""
    source = trajectory.source
    if source is not Source.REAL and not (accept_rehearsed and source is Source.REHEARSED):
        remedy = (
            "build the buffer with accept_rehearsed=True"
            if source is Source.REHEARSED
            else "give dreams to the policy learner only"
        )
        raise ValueError(
            f"replay refuses trajectory {trajectory.id!r} of source {source.value!r}: it holds "
            f"real experience; {remedy}"
        )
    if trajectory.stop.is_failure:
        raise ValueError(
            f"replay refuses trajectory {trajectory.id!r}, which failed "
            f"({trajectory.stop.value!r}): failures are counted in the ledger, never learned from"
        )


def save_shelf(folder: str, *, shelf: Shelf, buffer: str, state: Mapping[str, Any]) -> None:
    """`trajectories.parquet` with what is held, `attachments.parquet` with what is kept beside it,
    if anything is, and `buffer.json` with how it goes on."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    write_trajectories(path / "trajectories.parquet", shelf.trajectories())
    if len(shelf.attachments):
        shelf.attachments.save(path / _ATTACHMENTS)
    document = {
        "buffer": buffer,
        "num_attachments": len(shelf.attachments),
        "serials": [entry.serial for entry in shelf.entries],
        "keys": [entry.key for entry in shelf.entries],
        "kinds": [entry.kind for entry in shelf.entries],
        **state,
    }
    write_json(path / "buffer.json", value=document)


def load_shelf(folder: str, *, buffer: str, extra_bytes: int) -> tuple[Shelf, dict[str, Any]]:
    """Raises `FileNotFoundError` or `ValueError` naming the file that is missing or wrong."""
    path = Path(folder)
    state: dict[str, Any] = read_json(path / "buffer.json")
    if state.get("buffer") != buffer:
        raise ValueError(
            f"{path / 'buffer.json'} was saved by a {state.get('buffer')!r} buffer and cannot be "
            f"loaded into a {buffer!r} one; set replay.name to the one the run began with"
        )
    serials, keys, kinds = state["serials"], state["keys"], state["kinds"]
    shelf = Shelf()
    num_read = 0
    for trajectory in iter_trajectories(path / "trajectories.parquet"):
        if num_read < len(serials):
            shelf.put(
                make_entry(
                    trajectory,
                    serial=serials[num_read],
                    key=keys[num_read],
                    kind=kinds[num_read],
                    extra_bytes=extra_bytes,
                )
            )
        num_read += 1
    if num_read != len(serials):
        raise ValueError(
            f"{path} is torn: buffer.json lists {len(serials)} trajectories, trajectories.parquet "
            f"holds {num_read}; restore the folder from an older checkpoint"
        )
    if state["num_attachments"]:
        shelf.attachments = Attachments.load(path / _ATTACHMENTS)
    if len(shelf.attachments) != state["num_attachments"]:
        raise ValueError(
            f"{path} is torn: buffer.json counts {state['num_attachments']} attachments, "
            f"{_ATTACHMENTS} holds {len(shelf.attachments)}; restore the folder from an older "
            "checkpoint"
        )
    return shelf, state
