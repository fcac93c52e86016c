"""All that the buffers have in common: what comes in, what goes out, how it is saved.

A buffer of one's own needs none of this, only the `ReplayBuffer` protocol. Those here differ in
three answers: is a newcomer wanted, who is forgotten when room is short, who is drawn. A strategy
is a subclass that gives its answers; its parameters, if it has any, are fields of a dataclass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dyna.replay.codec import decode
from dyna.replay.shelf import (
    Capacity,
    Entry,
    Shelf,
    check_admissible,
    kind_of,
    load_shelf,
    make_entry,
    save_shelf,
)
from dyna.seeding import generator
from dyna.types import Trajectory

DEFAULT_MAX_BYTES = 200 * 2**20


@dataclass(kw_only=True, eq=False)
class TrajectoryBuffer(ABC):
    """Whole trajectories within `max_transitions` turns and `max_bytes` bytes.

    A subclass with parameters of its own is `@dataclass(kw_only=True, eq=False)` too, and checks
    them in `__post_init__` before it calls this one's.
    """

    name: ClassVar[str]
    extra_bytes: ClassVar[int] = 0
    """Kept of each trajectory beside the shelf; counted like the shelf's own bytes."""

    max_transitions: int
    """Turns held at most."""
    max_bytes: int = DEFAULT_MAX_BYTES
    """Bytes held at most."""
    seed: int = 0
    accept_rehearsed: bool = False
    """Whether graded dreams of old tasks are taken beside real episodes."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for room that is no room."""
        self.capacity = Capacity(max_transitions=self.max_transitions, max_bytes=self.max_bytes)
        self._shelf = Shelf()
        self._num_offered = 0
        self._keys = generator(self.seed, "replay", self.name, "keep")
        self._draws = generator(self.seed, "replay", self.name, "draw")
        self._note_all({})

    def add(self, trajectory: Trajectory) -> None:
        """Remember a trajectory, forgetting others where room is short.

        One that ended before its first turn holds no transition: nothing is stored. Raises
        `ValueError` for imagined or failed trajectories and for one larger than the buffer.
        """
        check_admissible(trajectory, accept_rehearsed=self.accept_rehearsed)
        if not trajectory.turns:
            return
        serial, key = self._num_offered, float(self._keys.random())
        self._num_offered += 1
        kind = self._kind(trajectory)
        if not self._wants(kind, key=key):
            return
        entry = make_entry(
            trajectory, serial=serial, key=key, kind=kind, extra_bytes=self.extra_bytes
        )
        self.capacity.check_fits(entry, trajectory=trajectory)
        self._shelf.put(entry)
        self._on_put(entry)
        self._make_room()

    def sample(self, num_turns: int) -> list[Trajectory]:
        """Whole trajectories, with replacement, of at least `num_turns` turns together.

        Raises `ValueError` if turns are asked of an empty buffer.
        """
        if num_turns < 0:
            raise ValueError(f"num_turns to sample must be >= 0, got {num_turns}")
        if num_turns and not len(self._shelf):
            raise ValueError(
                "cannot sample from an empty replay buffer; add real trajectories first"
            )
        drawn: list[Trajectory] = []
        missing = num_turns
        while missing > 0:
            entry = self._draw()
            drawn.append(decode(entry.blob))
            missing -= entry.num_turns
        return drawn

    def __len__(self) -> int:
        """Transitions held."""
        return self._shelf.num_turns

    @property
    def num_bytes(self) -> int:
        """Bytes held in memory, bookkeeping included."""
        return self._shelf.num_bytes

    @property
    def num_trajectories(self) -> int:
        return len(self._shelf)

    def trajectories(self) -> Iterator[Trajectory]:
        """All that is held, in the order it came, decoded one at a time."""
        return self._shelf.trajectories()

    def save(self, folder: str) -> None:
        state = {
            "num_offered": self._num_offered,
            "keep_rng": self._keys.bit_generator.state,
            "draw_rng": self._draws.bit_generator.state,
            "state": self._state(),
        }
        save_shelf(folder, shelf=self._shelf, buffer=self.name, state=state)

    def load(self, folder: str) -> None:
        """Go on exactly as the saved buffer would have; the capacity stays this one's own."""
        shelf, state = load_shelf(folder, buffer=self.name, extra_bytes=self.extra_bytes)
        self._shelf = shelf
        self._num_offered = state["num_offered"]
        self._keys.bit_generator.state = state["keep_rng"]
        self._draws.bit_generator.state = state["draw_rng"]
        self._note_all(state["state"])
        self._make_room()

    def _make_room(self) -> None:
        while self.capacity.exceeded_by(self._shelf):
            self._shelf.take(self._forget())

    def _uniform(self, entries: list[Entry]) -> Entry:
        """Every trajectory equally likely at each draw, and with it every transition held."""
        return entries[int(self._draws.integers(len(entries)))]

    def _draw(self) -> Entry:
        return self._uniform(self._shelf.entries)

    def _kind(self, trajectory: Trajectory) -> str:
        return kind_of(trajectory)

    def _wants(self, kind: str, *, key: float) -> bool:
        """Whether a newcomer has a chance to stay; saves the work of encoding it."""
        return True

    def _on_put(self, entry: Entry) -> None:
        """Take note of a new entry on the shelf."""
        return None

    @abstractmethod
    def _forget(self) -> Entry:
        """Choose the entry that leaves, and drop what is noted of it."""

    def _state(self) -> dict[str, Any]:
        """All that a buffer knows beyond its shelf, as JSON holds it."""
        return {}

    def _note_all(self, state: Mapping[str, Any]) -> None:
        """Start to keep track of the shelf: an empty one, or one just loaded with its `state`."""
        return None
