"""The rules: a house that answers commands in ALFWorld's sentences.

All that never changes is worked out once per house in `HouseTables`, which clones share; a step
then parses one command, changes a few integers and joins ready-made strings. See `vocabulary` for
the attribution of rules and sentences.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from typing import ClassVar

from dyna.envs.household.house import House
from dyna.envs.household.tables import (
    BIT,
    CLEARS,
    COOL,
    DESCRIPTIONS,
    HELP,
    NOTHING_HAPPENS,
    SLICED,
    TOGGLED,
    HouseTables,
    list_names,
)
from dyna.envs.household.vocabulary import Process, Property


class HouseholdGame:
    """One episode in a house; any number of resets.

    Example: `game = HouseholdGame(house); game.reset(); game.step("go to shelf 1")`
    """

    __slots__ = (
        "_at", "_contents", "_held", "_left", "_location", "_locked", "_opened", "_states",
        "_tables", "won",
    )  # fmt: skip

    won: bool
    """Whether the goal holds now."""

    def __init__(self, house: House) -> None:
        self._tables = HouseTables(house)
        self.reset()

    @property
    def house(self) -> House:
        return self._tables.house

    def reset(self) -> str:
        """Everything as at the start. Returns what the agent first sees, and its task."""
        house = self._tables.house
        self._location = house.start_location
        self._held = -1
        self._opened = [r.opened for r in house.receptacles]
        self._locked = [r.locked for r in house.receptacles]
        self._contents: list[list[int]] = [[] for _ in house.receptacles]
        self._states = [COOL if o.cooled else 0 for o in house.objects]
        self._at: set[tuple[int, int]] = set()
        self._left: set[tuple[int, int]] = set()
        """(object, receptacle) taken apart; `look` lists those that are still near."""
        for i, thing in enumerate(house.objects):
            for r in thing.receptacles:
                self._contents[r].append(i)
            if thing.location is not None:
                self._at.add((i, thing.location))
        self.won = self._goal_holds()
        seen = list_names(self._tables.receptacle_names)
        return (
            "You are in the middle of a room. Looking quickly around you, you see "
            f"{seen}.\n\nYour task is to: {house.goal.text}."
        )

    def step(self, command: str) -> tuple[str, bool, bool]:
        """(observation, won, valid); a command that is impossible now changes nothing."""
        parsed = self._tables.parse(command)
        observation = self._HANDLERS[parsed[0]](self, parsed[1], parsed[2]) if parsed else None
        if observation is None:
            return NOTHING_HAPPENS, self.won, False
        return observation, self.won, True

    def clone(self) -> HouseholdGame:
        """An independent game in the same state."""
        twin = object.__new__(HouseholdGame)
        twin._tables = self._tables
        twin._location, twin._held, twin.won = self._location, self._held, self.won
        twin._opened, twin._states = self._opened.copy(), self._states.copy()
        twin._locked = self._locked.copy()
        twin._contents = [c.copy() for c in self._contents]
        twin._at, twin._left = self._at.copy(), self._left.copy()
        return twin

    def admissible(self) -> list[str]:
        """The commands that would do something now, sorted."""
        t, held = self._tables, self._held
        names, things = t.receptacle_names, t.object_names
        commands = ["help", "inventory", "look", *t.go[self._location]]
        for r in t.here.get(self._location, ()):
            name = names[r]
            commands.append(f"examine {name}")
            if t.openable[r]:
                commands.append(f"close {name}" if self._opened[r] else f"open {name}")
            if self._locked[r]:
                commands.append(f"unlock {name}")
            visible = self._shows(r)
            if held < 0:
                if visible:
                    commands += [
                        f"take {things[o]} from {name}"
                        for o in self._contents[r]
                        if o in t.pickupable
                    ]
            else:
                if visible and r in t.fits[held]:
                    commands.append(f"move {things[held]} to {name}")
                commands += [
                    f"{process} {things[held]} with {name}"
                    for process in t.processes[r]
                    if held in t.processable[process]
                ]
            commands += [f"use {things[o]}" for o in self._contents[r] if o in t.toggleable]
        if held >= 0:
            commands.append(f"examine {things[held]}")
            if held in t.cutters:
                near = (o for o in t.sliceable if (o, self._location) in self._at)
                commands += [f"slice {things[o]} with {things[held]}" for o in near]
        commands.sort()
        return commands

    def contents(self, receptacle: int) -> list[str]:
        """Names of what is in a receptacle, by its index in the house; hidden from the agent."""
        return [self._tables.object_names[o] for o in self._contents[receptacle]]

    def contents_by_index(self, receptacle: int) -> list[int]:
        """The same, as indices of the house's objects."""
        return self._contents[receptacle].copy()

    @property
    def location(self) -> int:
        """Where the agent stands."""
        return self._location

    def is_open(self, receptacle: int) -> bool:
        return self._opened[receptacle]

    def is_locked(self, receptacle: int) -> bool:
        return self._locked[receptacle]

    def held(self) -> str | None:
        return self._tables.object_names[self._held] if self._held >= 0 else None

    def held_index(self) -> int | None:
        return self._held if self._held >= 0 else None

    def states(self, thing: int) -> tuple[str, ...]:
        """Of `clean`, `hot`, `cool`, `on`, `sliced`, those that hold of an object, by index."""
        words = ("clean", "hot", "cool", "on", "sliced")
        return tuple(word for i, word in enumerate(words) if self._states[thing] >> i & 1)

    def _shows(self, r: int) -> bool:
        return self._opened[r] or not self._tables.openable[r]

    def _near(self, r: int) -> bool:
        return self._tables.where[r] == self._location

    def _goal_holds(self) -> bool:
        t = self._tables
        if t.is_light:
            return self._held in t.goal_objects and any(
                self._states[lamp] & TOGGLED and lamp in self._contents[r]
                for lamp in t.lamps
                for r in t.here.get(self._location, ())
            )
        for r in t.goal_receptacles:
            done = 0
            for o in self._contents[r]:
                if o in t.goal_objects and self._states[o] & t.goal_bit == t.goal_bit:
                    done += 1
            if done >= t.goal_count:
                return True
        return False

    def _see(self, r: int) -> str:
        name, t = self._tables.receptacle_names[r], self._tables
        if not t.openable[r]:
            where = f"On the {name}"
        elif self._opened[r]:
            where = f"The {name} is open. In it"
        else:
            return f"The {name} is closed."
        return f"{where}, you see {list_names([t.object_names[o] for o in self._contents[r]])}."

    def _go(self, r: int, _: int) -> str | None:
        if self._near(r):
            return None
        self._location = self._tables.where[r]
        self.won = self._goal_holds()
        return f"You arrive at {self._tables.receptacle_names[r]}. {self._see(r)}"

    def _open(self, r: int, _: int) -> str | None:
        if not self._near(r) or not self._tables.openable[r] or self._opened[r]:
            return None
        if self._locked[r]:
            return f"The {self._tables.receptacle_names[r]} is locked."
        self._opened[r] = True
        return f"You open the {self._tables.receptacle_names[r]}. {self._see(r)}"

    def _unlock(self, r: int, _: int) -> str | None:
        if not self._near(r) or not self._locked[r]:
            return None
        self._locked[r] = False
        return f"You unlock the {self._tables.receptacle_names[r]}."

    def _close(self, r: int, _: int) -> str | None:
        if not self._near(r) or not self._tables.openable[r] or not self._opened[r]:
            return None
        self._opened[r] = False
        return f"You close the {self._tables.receptacle_names[r]}."

    def _take(self, o: int, r: int) -> str | None:
        if self._held >= 0 or not self._near(r) or not self._shows(r):
            return None
        if o not in self._contents[r] or o not in self._tables.pickupable:
            return None
        self._contents[r].remove(o)
        self._left.add((o, r))
        self._at.discard((o, self._location))
        self._held = o
        self.won = self._goal_holds()
        t = self._tables
        return f"You pick up the {t.object_names[o]} from the {t.receptacle_names[r]}."

    def _move(self, o: int, r: int) -> str | None:
        t = self._tables
        if self._held != o or not self._near(r) or not self._shows(r) or r not in t.fits[o]:
            return None
        if o not in self._contents[r]:
            insort(self._contents[r], o)
        self._left.discard((o, r))
        self._at.add((o, self._location))
        self._held = -1
        self.won = self._goal_holds()
        return f"You move the {t.object_names[o]} to the {t.receptacle_names[r]}."

    def _clean(self, o: int, r: int) -> str | None:
        return self._process(o, r, process=Process.CLEAN)

    def _heat(self, o: int, r: int) -> str | None:
        return self._process(o, r, process=Process.HEAT)

    def _cool(self, o: int, r: int) -> str | None:
        return self._process(o, r, process=Process.COOL)

    def _process(self, o: int, r: int, *, process: Process) -> str | None:
        t = self._tables
        if self._held != o or not self._near(r):
            return None
        if process not in t.processes[r] or o not in t.processable[process]:
            return None
        self._states[o] = (self._states[o] & ~CLEARS[process]) | BIT[process]
        self.won = self._goal_holds()
        return f"You {process} the {t.object_names[o]} using the {t.receptacle_names[r]}."

    def _use(self, o: int, _: int) -> str | None:
        t = self._tables
        if o not in t.toggleable:
            return None
        if not any(o in self._contents[r] for r in t.here.get(self._location, ())):
            return None
        self._states[o] |= TOGGLED
        self.won = self._goal_holds()
        return f"You turn on the {t.object_names[o]}."

    def _slice(self, o: int, knife: int) -> str | None:
        t = self._tables
        if self._held != knife or knife not in t.cutters or o not in t.sliceable:
            return None
        if (o, self._location) not in self._at:
            return None
        self._states[o] |= SLICED
        return f"You sliced the {t.object_names[o]} with the {t.object_names[knife]}."

    def _examine_receptacle(self, r: int, _: int) -> str | None:
        return self._see(r) if self._near(r) else None

    def _examine_object(self, o: int, _: int) -> str | None:
        if self._held != o:
            return None
        thing, state = self._tables.house.objects[o], self._states[o]
        if Property.CONTAINER in thing.properties:
            inside = [x.name for x in self._tables.house.objects if x.inside == o]
            return f"This is a normal {thing.name}. In it, you see {list_names(inside)}."
        for bits, words in DESCRIPTIONS:
            if state & bits == bits:
                return f"This is a {words} {thing.name}."
        if o in self._tables.toggleable:
            return f"This {thing.name} is {'on' if state & TOGGLED else 'off'}."
        if state & SLICED:
            return f"This is a sliced {thing.name}."
        return f"There's nothing special about {thing.name}."

    def _look(self, _: int, __: int) -> str:
        t = self._tables
        here = t.here.get(self._location, [])
        if not here:
            return "You are in the middle of a room. Looking quickly around you, you see nothing."
        names = [t.receptacle_names[r] for r in here]
        facing = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}"
        beside = [
            t.object_names[o]
            for o, location in sorted(self._at)
            if location == self._location
            for r in here
            if (o, r) in self._left
        ]
        return f"You are facing the {facing}. Next to it, you see {list_names(beside)}."

    def _inventory(self, _: int, __: int) -> str:
        if self._held < 0:
            return "You are not carrying anything."
        return f"You are carrying: a {self._tables.object_names[self._held]}."

    def _help(self, _: int, __: int) -> str:
        return HELP

    _HANDLERS: ClassVar[dict[str, Callable[[HouseholdGame, int, int], str | None]]] = {
        "look": _look,
        "inventory": _inventory,
        "help": _help,
        "go": _go,
        "open": _open,
        "close": _close,
        "unlock": _unlock,
        "take": _take,
        "move": _move,
        "clean": _clean,
        "heat": _heat,
        "cool": _cool,
        "slice": _slice,
        "use object": _use,
        "examine": _examine_receptacle,
        "examine object": _examine_object,
    }
