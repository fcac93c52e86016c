"""What never changes in a house, worked out once: names, who fits where, how commands read.

A command is parsed once per house into a verb and two indices, whatever state the game is in, and
the parse is kept; the game then only asks whether it is possible now.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from dyna.envs.household.house import Family, GoalNaming, House
from dyna.envs.household.vocabulary import Process, Property

NOTHING_HAPPENS = "Nothing happens."
HELP = """Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object"""

CLEAN, HOT, COOL, TOGGLED, SLICED = 1, 2, 4, 8, 16
BIT = {Process.CLEAN: CLEAN, Process.HEAT: HOT, Process.COOL: COOL}
CLEARS = {Process.CLEAN: 0, Process.HEAT: COOL, Process.COOL: HOT}

# What `examine` calls an object, the first whose bits are all set.
DESCRIPTIONS = (
    (CLEAN | HOT | SLICED, "hot and clean sliced"),
    (CLEAN | COOL | SLICED, "cool and clean sliced"),
    (CLEAN | SLICED, "clean sliced"),
    (HOT | SLICED, "hot sliced"),
    (COOL | SLICED, "cool sliced"),
    (CLEAN | HOT, "hot and clean"),
    (CLEAN | COOL, "cool and clean"),
    (HOT, "hot"),
    (CLEAN, "clean"),
    (COOL, "cold"),
)

Parsed: TypeAlias = tuple[str, int, int]
"""Verb, and the indices of what it is done to; 0 for none."""


def list_names(names: Iterable[str]) -> str:
    """`a mug 2, a mug 1, and a pen 1`; `nothing` for none."""
    words = [f"a {name}" for name in names]
    if len(words) < 2:
        return words[0] if words else "nothing"
    return f"{', '.join(words[:-1])}, and {words[-1]}"


class HouseTables:
    """What never changes in a house, indexed by receptacle and object number."""

    __slots__ = (
        "cutters", "fits", "go", "goal_bit", "goal_count", "goal_objects", "goal_receptacles",
        "here", "house", "is_light", "lamps", "object_index", "object_names", "openable",
        "parsed", "pickupable", "processable", "processes", "receptacle_index",
        "receptacle_names", "sliceable", "toggleable", "where",
    )  # fmt: skip

    def __init__(self, house: House) -> None:
        self.house = house
        receptacles, objects = house.receptacles, house.objects
        self.receptacle_names = [r.name for r in receptacles]
        self.object_names = [o.name for o in objects]
        self.receptacle_index = {name: i for i, name in enumerate(self.receptacle_names)}
        self.object_index = {name: i for i, name in enumerate(self.object_names)}
        self.where = [r.location for r in receptacles]
        self.openable = [r.openable for r in receptacles]
        self.processes = [tuple(sorted(r.processes)) for r in receptacles]
        self.here: dict[int, list[int]] = {}
        for i, location in enumerate(self.where):
            self.here.setdefault(location, []).append(i)
        self.go = {
            location: sorted(
                f"go to {r.name}" for r in receptacles if r.location != location
            )
            for location in {*self.where, house.start_location}
        }  # fmt: skip
        self.fits = [
            frozenset(i for i, r in enumerate(receptacles) if (r.kind, o.kind) in house.fits)
            for o in objects
        ]
        self.pickupable = self._having(Property.PICKUPABLE)
        self.toggleable = self._having(Property.TOGGLEABLE)
        self.sliceable = self._having(Property.SLICEABLE)
        self.cutters = self._having(Property.CUTS)
        self.processable = {process: self._having(process.needs) for process in Process}
        self.parsed: dict[str, Parsed] = {}
        self._compile_goal()

    def _having(self, prop: Property) -> frozenset[int]:
        return frozenset(i for i, o in enumerate(self.house.objects) if prop in o.properties)

    def _compile_goal(self) -> None:
        goal, process = self.house.goal, self.house.goal.family.process
        by_kind = goal.naming is GoalNaming.KIND
        wanted = frozenset(
            i
            for i, o in enumerate(self.house.objects)
            if (o.kind if by_kind else o.name) in goal.objects
        )
        self.is_light = goal.family is Family.EXAMINE_IN_LIGHT
        self.goal_bit = BIT[process] if process else 0
        self.goal_count = 2 if goal.family is Family.PICK_TWO else 1
        self.goal_objects = wanted & self.processable[process] if process else wanted
        self.goal_receptacles = [
            i
            for i, r in enumerate(self.house.receptacles)
            if (r.kind if by_kind else r.name) == goal.target
        ]
        self.lamps = [
            i
            for i, o in enumerate(self.house.objects)
            if (o.kind if by_kind else o.name) == goal.target and i in self.toggleable
        ]

    def parse(self, command: str) -> Parsed | None:
        """The handler and its arguments; None for what can never be a command in this house."""
        found = self.parsed.get(command)
        if found is None:
            found = self._parse(" ".join(command.split()))
            if found is not None and len(command) < 200:
                self.parsed[command] = found
        return found

    def _parse(self, command: str) -> Parsed | None:
        verb, _, rest = command.partition(" ")
        if verb in _ALONE:
            return None if rest else (verb, 0, 0)
        if verb in _JOINED:
            first, _, second = rest.partition(_JOINED[verb])
            thing = self.object_index.get(first)
            other = (self.object_index if verb == "slice" else self.receptacle_index).get(second)
            return None if thing is None or other is None else (verb, thing, other)
        if verb == "use" or (verb == "examine" and rest in self.object_index):
            thing = self.object_index.get(rest)
            return None if thing is None else (f"{verb} object", thing, 0)
        if verb == "go":
            if not rest.startswith("to "):
                return None
            rest = rest[3:]
        place = self.receptacle_index.get(rest)
        return None if place is None or verb not in _PLACES else (verb, place, 0)


_ALONE = frozenset({"look", "inventory", "help"})
_PLACES = frozenset({"go", "open", "close", "unlock", "examine"})
_JOINED = {
    "take": " from ",
    "move": " to ",
    "clean": " with ",
    "heat": " with ",
    "cool": " with ",
    "slice": " with ",
}
