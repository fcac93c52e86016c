"""ALFWorld's planning problems, read as houses.

The engine calls things by sorting their ids, in lower case, and numbering each kind from the back:
the last `Cabinet_bar_...` is `cabinet 1`. So does this reader, which makes the names, and with them
every sentence, those of the original. Of a problem it takes all that can be met in play; what
stands outside of every receptacle and cannot be cut (curtains, stove knobs) is counted for the
names and then left out.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from dyna.envs.alfworld.goal import ProblemError, read_goal
from dyna.envs.household.goals import goal_text
from dyna.envs.household.house import House, HouseObject, Receptacle
from dyna.envs.household.vocabulary import Process, Property

Facts: TypeAlias = Mapping[str, Sequence[list[str]]]
"""The arguments of every fact, by predicate."""

_ATOM = re.compile(r"\(\s*([^\s()]+)([^()]*)\)")
_COMMENT = re.compile(r";[^\n]*")
_PROPERTIES = {
    "pickupable": Property.PICKUPABLE,
    "cleanable": Property.CLEANABLE,
    "heatable": Property.HEATABLE,
    "coolable": Property.COOLABLE,
    "toggleable": Property.TOGGLEABLE,
    "sliceable": Property.SLICEABLE,
    "isreceptacleobject": Property.CONTAINER,
}
_TOOLS = {
    "sinkbasin": frozenset({Process.CLEAN}),
    "microwave": frozenset({Process.HEAT}),
    "fridge": frozenset({Process.COOL}),
}
_CUTTERS = frozenset({"knife", "butterknife"})
_ROOMS = ((30, "kitchen"), (230, "livingroom"), (330, "bedroom"), (430, "bathroom"))
"""The last number of each sort of floor plan."""


def read_problem(problem: str, *, task: str = "", scene: str = "") -> House:
    """The house of a problem in PDDL, about 50,000 characters of it.

    `task` is the goal in words, without its full stop; if empty, it is worded as ALFWorld does.
    `scene` is a floor plan, `FloorPlan301`, and says what kind of room it is. Raises
    `ProblemError` for a text that is cut off, or that poses none of ALFWorld's six kinds of task.
    """
    text = problem.lower()
    if ";" in text:
        text = _COMMENT.sub("", text)
    if not text.strip():
        raise ProblemError("the problem is empty")
    opened, closed = text.count("("), text.count(")")
    if opened != closed:
        raise ProblemError(f"the problem is cut off: {opened} brackets open and {closed} close")
    begin, end = text.find("(:init"), text.find("(:goal")
    if begin < 0 or end < begin:
        raise ProblemError("the problem has no (:init ...) followed by a (:goal ...)")
    facts: defaultdict[str, list[list[str]]] = defaultdict(list)
    for predicate, arguments in _ATOM.findall(text, begin + 6, end):
        facts[predicate].append(arguments.split())
    try:
        return _house(facts, goal=text[end:], task=task, scene=scene)
    except (IndexError, KeyError) as error:
        raise ProblemError(f"a fact of the problem lacks something: {error!r}") from error


def _house(facts: Facts, *, goal: str, task: str, scene: str) -> House:
    places = dict(_pairs(facts["receptacleatlocation"]))
    if not places:
        raise ProblemError("the problem has no receptacle anywhere")
    kinds = {thing: _word(kind) for thing, kind in _pairs(facts["objecttype"])}
    receptacle_kinds = {thing: _word(kind) for thing, kind in _pairs(facts["receptacletype"])}
    spots = _group(facts["objectatlocation"])
    start = facts["atlocation"][0][1]
    numbers = {
        place: i
        for i, place in enumerate(
            sorted({start, *places.values(), *(p for found in spots.values() for p in found)})
        )
    }
    names = _names({*places, *kinds, *receptacle_kinds})
    openable, opened = _having(facts["openable"]), _having(facts["opened"])
    receptacles = tuple(
        Receptacle(
            name=names[i],
            kind=receptacle_kinds[i],
            openable=i in openable,
            processes=_TOOLS.get(receptacle_kinds[i], frozenset()),
            location=numbers[places[i]],
            opened=i in opened,
        )
        for i in sorted(places)
    )
    wanted = read_goal(goal, names=names)
    house = House(
        room=_room(scene),
        receptacles=receptacles,
        objects=_objects(facts, kinds=kinds, names=names, places=places, numbers=numbers),
        fits=frozenset((_word(r), _word(o)) for r, o in _pairs(facts["cancontain"])),
        goal=replace(wanted, text=task),
        start_location=numbers[start],
    )
    if task:
        return house
    text = goal_text(wanted, variant=int(house.content_key(), 16))
    return replace(house, goal=replace(wanted, text=text))


def _objects(
    facts: Facts,
    *,
    kinds: Mapping[str, str],
    names: Mapping[str, str],
    places: Mapping[str, str],
    numbers: Mapping[str, int],
) -> tuple[HouseObject, ...]:
    """Those that can be met in play, sorted by id."""
    receptacle_index = {place: i for i, place in enumerate(sorted(places))}
    properties: defaultdict[str, set[Property]] = defaultdict(set)
    for predicate, prop in _PROPERTIES.items():
        for thing in _having(facts[predicate]):
            properties[thing].add(prop)
    lying, spots = _group(facts["inreceptacle"]), _group(facts["objectatlocation"])
    within, cooled = dict(_pairs(facts["inreceptacleobject"])), _having(facts["iscool"])
    met = [
        i for i in sorted(kinds) if i in lying or i in within or Property.SLICEABLE in properties[i]
    ]
    object_index = {thing: n for n, thing in enumerate(met)}
    objects: list[HouseObject] = []
    for i in met:
        here = spots.get(i, [])
        if len(here) > 1:
            raise ProblemError(f"object {i!r} is at {len(here)} locations at once")
        if kinds[i] in _CUTTERS:
            properties[i].add(Property.CUTS)
        objects.append(
            HouseObject(
                name=names[i],
                kind=kinds[i],
                properties=frozenset(properties[i]),
                receptacles=tuple(sorted(receptacle_index[r] for r in lying.get(i, ()))),
                location=numbers[here[0]] if here else None,
                inside=object_index.get(within[i]) if i in within else None,
                cooled=i in cooled,
            )
        )
    return tuple(objects)


def _names(ids: set[str]) -> dict[str, str]:
    """As the engine calls them: `cabinet_bar_...` is `cabinet 2` if it is the last but one."""
    kinds = {i: _stem(i) for i in sorted(ids)}
    left = Counter(kinds.values())
    names: dict[str, str] = {}
    for i, kind in kinds.items():
        names[i] = f"{kind} {left[kind]}"
        left[kind] -= 1
    return names


def _stem(i: str) -> str:
    stem, mark, _ = i.partition("_bar_")
    if not mark:
        raise ProblemError(f"id {i!r} has no `_bar_`, so the engine would give it no number")
    return f"{stem}basin" if "basin" in i else stem


def _room(scene: str) -> str:
    digits = re.search(r"\d+\Z", scene)
    number = int(digits[0]) if digits else 0
    return next((room for last, room in _ROOMS if 0 < number <= last), "room")


def _word(kind: str) -> str:
    """`mugtype` is `mug`."""
    return kind.removesuffix("type")


def _pairs(facts: Sequence[list[str]]) -> list[tuple[str, str]]:
    return [(fact[0], fact[1]) for fact in facts]


def _group(facts: Sequence[list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for first, second in _pairs(facts):
        others = found.setdefault(first, [])
        if second not in others:
            others.append(second)
    return found


def _having(facts: Sequence[list[str]]) -> set[str]:
    return {fact[0] for fact in facts}


__all__ = ["ProblemError", "read_problem"]
