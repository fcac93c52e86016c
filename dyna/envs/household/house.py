"""A house as facts: what stands where, what lies where, and what is asked of the agent.

A `House` carries all the rules need, so it can come from the generator or from a file of ALFWorld's
own games, and two houses with the same content are the same house whatever made them. See
`vocabulary` for the attribution of rules and sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from dyna.envs.household.vocabulary import Process, Property


class Family(StrEnum):
    """ALFWorld's six kinds of task."""

    PICK_AND_PLACE = "pick_and_place"
    EXAMINE_IN_LIGHT = "examine_in_light"
    CLEAN = "clean"
    HEAT = "heat"
    COOL = "cool"
    PICK_TWO = "pick_two"

    @property
    def process(self) -> Process | None:
        """What must be done to the object on its way; None if nothing."""
        return _PROCESS.get(self)


_PROCESS = {
    Family.CLEAN: Process.CLEAN,
    Family.HEAT: Process.HEAT,
    Family.COOL: Process.COOL,
}


class GoalNaming(StrEnum):
    """What the task's words name."""

    KIND = "kind"
    """ALFWorld's way: any mug, any shelf."""
    INSTANCE = "instance"
    """`mug 1` and `shelf 2`, so that the task can be read off the observations word by word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receptacle:
    name: str
    """As observations say it: kind and number, `cabinet 2`."""
    kind: str
    openable: bool = False
    processes: frozenset[Process] = frozenset()
    location: int
    """Where one stands to reach it; receptacles may share one."""
    opened: bool = False
    """At the start."""
    locked: bool = False
    """At the start; must be unlocked before it opens. No rule of ALFWorld's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseObject:
    name: str
    kind: str
    properties: frozenset[Property] = frozenset()
    receptacles: tuple[int, ...] = ()
    """Indices of the receptacles it is in at the start: one, most often; a few of ALFWorld's own
    games have a thing in two at once, and what is in none is out of sight."""
    location: int | None = None
    """Where one stands to cut it; None for out of reach."""
    inside: int | None = None
    """Index of the container object it is in; None if in none."""
    cooled: bool = False
    """Cold at the start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Example: `Goal(family=Family.CLEAN, naming=GoalNaming.KIND, objects=("mug",),
    target="shelf", text="put a clean mug in shelf")`."""

    family: Family
    naming: GoalNaming
    objects: tuple[str, ...]
    """A kind, or the instances by name: two of them for `pick_two`, else one."""
    target: str
    """Receptacle kind or name; for `examine_in_light`, the lamp's."""
    text: str
    """The task in words, without its full stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything there is at the start. Order is the order in which observations list things."""

    room: str
    receptacles: tuple[Receptacle, ...]
    objects: tuple[HouseObject, ...]
    fits: frozenset[tuple[str, str]]
    """(receptacle kind, object kind): what can be put where."""
    goal: Goal
    start_location: int = -1
    """Where the agent stands at first; nothing is there unless a receptacle has this location."""

    def __post_init__(self) -> None:
        names = [r.name for r in self.receptacles] + [o.name for o in self.objects]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"a house names {twice} twice; give every instance its own number")

    def layout_key(self) -> str:
        """Equal for houses with the same receptacles."""
        return digest(layout_facts(self.receptacles))

    def placement_key(self) -> str:
        """Equal for houses with the same receptacles and the same objects in the same places."""
        return digest([*layout_facts(self.receptacles), *placement_facts(self)])

    def content_key(self) -> str:
        """Equal for the same receptacles, placement and goal; the goal's wording is left out."""
        goal = self.goal
        facts = [*layout_facts(self.receptacles), *placement_facts(self)]
        return digest([*facts, goal.family, goal.naming, *goal.objects, goal.target])


def layout_facts(receptacles: tuple[Receptacle, ...]) -> list[str]:
    return [f"{r.name}@{r.location}{'+' if r.openable else ''}" for r in receptacles]


def placement_facts(house: House) -> list[str]:
    return [f"{o.name}:{_join(o.receptacles)}:{o.inside}:{int(o.cooled)}" for o in house.objects]


def _join(indices: tuple[int, ...]) -> str:
    return ",".join(map(str, indices))


def digest(facts: list[str]) -> str:
    """16 hexadecimal digits."""
    return blake2b("\x1f".join(facts).encode(), digest_size=8).hexdigest()
