"""What a household can be made of: kinds of receptacles and objects, and what may be done to them.

Nothing in the engine knows a kind by name. A `Vocabulary` says which kinds open, which objects fit
where and which receptacle cleans, heats or cools, so a world of invented words is as good as
ALFWorld's, whose own words stand in `alfworld_vocabulary`.

The sentences and rules of this package are those of ALFWorld (Shridhar et al., 2021,
arXiv:2010.03768; MIT license, Copyright (c) 2020 Mohit Shridhar), whose text engine it reproduces.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Property(StrEnum):
    """What may be done to an object."""

    PICKUPABLE = "pickupable"
    CLEANABLE = "cleanable"
    HEATABLE = "heatable"
    COOLABLE = "coolable"
    TOGGLEABLE = "toggleable"
    SLICEABLE = "sliceable"
    CUTS = "cuts"
    """Slices others while it is held."""
    CONTAINER = "container"
    """Holds other objects, as a bowl does; only its description shows it."""


class Process(StrEnum):
    """What a receptacle does to an object that is held near it."""

    CLEAN = "clean"
    HEAT = "heat"
    COOL = "cool"

    @property
    def needs(self) -> Property:
        return _NEEDS[self]


_NEEDS = {
    Process.CLEAN: Property.CLEANABLE,
    Process.HEAT: Property.HEATABLE,
    Process.COOL: Property.COOLABLE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptacleKind:
    """Example: `ReceptacleKind(name="fridge", openable=True, holds=frozenset({"egg"}))`."""

    name: str
    """One word, no digits."""
    openable: bool = False
    """Closed at the start, and shows nothing until it is opened."""
    holds: frozenset[str] = frozenset()
    """Object kinds that can be put there."""
    bears: frozenset[str] = frozenset()
    """Fixed object kinds that may stand there at the start and never leave, a lamp for one."""
    processes: frozenset[Process] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """Example: `ObjectKind(name="egg", properties=frozenset({Property.PICKUPABLE}))`."""

    name: str
    properties: frozenset[Property] = frozenset({Property.PICKUPABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many of which kinds a full-size room has, and what lies about in it."""

    receptacles: Mapping[str, tuple[int, int]]
    """Receptacle kind to the least and most of them, both inclusive."""
    objects: tuple[str, ...]
    """Object kinds that may occur."""
    num_objects: tuple[int, int] = (10, 20)
    """The least and most objects of the full-size room, both inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vocabulary:
    """All the words of a world. Raises `ValueError` when a word is used but not defined.

    Example: see `alfworld_vocabulary.ALFWORLD`, or make up kinds: `Vocabulary(name="invented",
    receptacles=(ReceptacleKind(name="zorp", holds=frozenset({"blick"})), ...), objects=(...),
    rooms={"room": Room(receptacles={"zorp": (1, 3)}, objects=("blick",))})`
    """

    name: str
    """Named by tasks, so that a task is not rebuilt from other words."""
    receptacles: tuple[ReceptacleKind, ...]
    objects: tuple[ObjectKind, ...]
    rooms: Mapping[str, Room]
    lamps: frozenset[str] = frozenset()
    """Toggleable object kinds that `examine_in_light` may ask for."""
    _receptacle_by_name: Mapping[str, ReceptacleKind] = field(init=False, repr=False, compare=False)
    _object_by_name: Mapping[str, ObjectKind] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        receptacles = {kind.name: kind for kind in self.receptacles}
        objects = {kind.name: kind for kind in self.objects}
        object.__setattr__(self, "_receptacle_by_name", receptacles)
        object.__setattr__(self, "_object_by_name", objects)
        if len(receptacles) < len(self.receptacles) or len(objects) < len(self.objects):
            raise ValueError(f"vocabulary {self.name!r} defines a kind twice; name each kind once")
        if shared := receptacles.keys() & objects.keys():
            raise ValueError(
                f"vocabulary {self.name!r} uses {sorted(shared)} both for receptacles and objects"
            )
        used = set(self.lamps)
        for kind in self.receptacles:
            used |= kind.holds | kind.bears
        for room in self.rooms.values():
            used.update(room.objects)
            if unknown := room.receptacles.keys() - receptacles.keys():
                raise ValueError(f"vocabulary {self.name!r} lacks receptacles {sorted(unknown)}")
        if unknown := used - objects.keys():
            raise ValueError(f"vocabulary {self.name!r} lacks objects {sorted(unknown)}")

    def receptacle(self, name: str) -> ReceptacleKind:
        return self._receptacle_by_name[name]

    def object(self, name: str) -> ObjectKind:
        return self._object_by_name[name]

    def has_receptacle(self, name: str) -> bool:
        return name in self._receptacle_by_name

    def has_object(self, name: str) -> bool:
        return name in self._object_by_name

    def can_hold(self, receptacle: str, *, object_kind: str) -> bool:
        """Whether `move` would succeed; False for a word that is not in the vocabulary."""
        kind = self._receptacle_by_name.get(receptacle)
        return kind is not None and object_kind in kind.holds
