"""A house as the planning problem that ALFWorld's own engine reads.

With the domain and grammar that the `alfworld` package ships, the text of `write_problem` is a game
of the real engine, so that the two can be compared sentence by sentence. The engine names things by
sorting their ids; `write_problem` makes ids that sort as the house lists, or says why it cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

from dyna.envs.household.house import Family, Goal, GoalNaming, House
from dyna.envs.household.vocabulary import Process, Property

_PROPERTY_FACTS = {
    Property.PICKUPABLE: "pickupable",
    Property.CLEANABLE: "cleanable",
    Property.HEATABLE: "heatable",
    Property.COOLABLE: "coolable",
    Property.TOGGLEABLE: "toggleable",
    Property.SLICEABLE: "sliceable",
    Property.CONTAINER: "isReceptacleObject",
}
_STATE_FACTS = {Process.CLEAN: "isClean", Process.HEAT: "isHot", Process.COOL: "isCool"}
_DOMAIN_OBJECTS = ("butterknife", "knife")
_DOMAIN_RECEPTACLES = ("fridge", "microwave", "sinkbasin")
"""Kinds that the domain's actions name, so that every problem must declare them."""
_START = "loc_bar_start"


def write_problem(house: House, *, name: str = "house") -> str:
    """The problem in PDDL. Raises `ValueError` for a house that the engine would name otherwise,
    or whose tools are not ALFWorld's."""
    _check_tools(house)
    receptacles = _ids([(r.kind, r.name) for r in house.receptacles])
    things = _ids([(o.kind, o.name) for o in house.objects])
    places = sorted({r.location for r in house.receptacles})
    object_kinds = sorted({o.kind for o in house.objects} | set(_DOMAIN_OBJECTS))
    receptacle_kinds = sorted({r.kind for r in house.receptacles} | set(_DOMAIN_RECEPTACLES))
    declared = [
        "agent1 - agent",
        *(f"{kind}Type - otype" for kind in object_kinds),
        *(f"{kind}Type - rtype" for kind in receptacle_kinds),
        *(f"{i} - object" for i in things),
        *(f"{i} - receptacle" for i in receptacles),
        *(f"{_place(house, place)} - location" for place in places),
    ]
    if house.start_location not in places:
        declared.append(f"{_START} - location")
    facts = [f"(atLocation agent1 {_place(house, house.start_location)})"]
    facts += _receptacle_facts(house, ids=receptacles)
    facts += [
        f"(canContain {place}Type {thing}Type)"
        for place, thing in sorted(house.fits)
        if place in receptacle_kinds and thing in object_kinds
    ]
    facts += _object_facts(house, ids=things, receptacles=receptacles)
    goal = _goal(house, receptacles=receptacles, things=things)
    return (
        f"(define (problem {name})\n(:domain alfred)\n(:objects\n"
        + "\n".join(declared)
        + "\n)\n(:init\n"
        + "\n".join(facts)
        + f"\n)\n(:goal {goal})\n)\n"
    )


def _place(house: House, location: int) -> str:
    known = any(r.location == location for r in house.receptacles)
    return f"loc_bar_{location:03d}" if known else _START


def _ids(named: Sequence[tuple[str, str]]) -> list[str]:
    """Ids that sort in the given order and that the engine gives the given names."""
    ids: list[str] = []
    numbers: dict[str, list[int]] = {}
    for rank, (kind, name) in enumerate(named):
        # The engine says "sinkbasin" for an id of kind "sink" that holds "basin" anywhere.
        stem = kind.removesuffix("basin")
        ids.append(f"{stem}_bar_{rank:03d}" + (f"_bar_{kind}" if stem != kind else ""))
        numbers.setdefault(kind, []).append(int(name.rpartition(" ")[2]))
    if sorted(ids) != ids:
        raise ValueError("a house must list its things by kind, in alphabetical order")
    for kind, given in numbers.items():
        if given != list(range(len(given), 0, -1)):
            raise ValueError(f"the engine numbers {kind!r} {len(given)} to 1, the house {given}")
    return ids


def _check_tools(house: House) -> None:
    expected = {
        "sinkbasin": {Process.CLEAN},
        "microwave": {Process.HEAT},
        "fridge": {Process.COOL},
    }
    for r in house.receptacles:
        if set(r.processes) != expected.get(r.kind, set()):
            raise ValueError(f"{r.name!r} has processes {set(r.processes)}, unlike ALFWorld's")
    for o in house.objects:
        if (Property.CUTS in o.properties) != (o.kind in _DOMAIN_OBJECTS):
            raise ValueError(f"{o.name!r} cuts, or does not, unlike ALFWorld's {o.kind!r}")


def _receptacle_facts(house: House, *, ids: Sequence[str]) -> list[str]:
    facts: list[str] = []
    for r, i in zip(house.receptacles, ids, strict=True):
        facts.append(f"(receptacleType {i} {r.kind}Type)")
        facts.append(f"(receptacleAtLocation {i} {_place(house, r.location)})")
        if r.openable:
            facts.append(f"(openable {i})")
        if r.opened:
            facts.append(f"(opened {i})")
    return facts


def _object_facts(house: House, *, ids: Sequence[str], receptacles: Sequence[str]) -> list[str]:
    facts: list[str] = []
    for o, i in zip(house.objects, ids, strict=True):
        facts.append(f"(objectType {i} {o.kind}Type)")
        facts += [f"({fact} {i})" for prop, fact in _PROPERTY_FACTS.items() if prop in o.properties]
        facts += [f"(inReceptacle {i} {receptacles[r]})" for r in o.receptacles]
        if o.location is not None:
            facts.append(f"(objectAtLocation {i} {_place(house, o.location)})")
        if o.inside is not None:
            facts.append(f"(inReceptacleObject {i} {ids[o.inside]})")
        if o.cooled:
            facts.append(f"(isCool {i})")
    return facts


def _goal(house: House, *, receptacles: Sequence[str], things: Sequence[str]) -> str:
    goal = house.goal
    if goal.naming is GoalNaming.KIND:
        return _kind_goal(goal)
    id_of = {o.name: i for o, i in zip(house.objects, things, strict=True)}
    id_of |= {r.name: i for r, i in zip(house.receptacles, receptacles, strict=True)}
    wanted, target = [id_of[name] for name in goal.objects], id_of[goal.target]
    if goal.family is Family.EXAMINE_IN_LIGHT:
        return f"(and {_lit(f'(isToggled {target})', lamp=target)} (holds agent1 {wanted[0]}))"
    facts = [f"(inReceptacle {i} {target})" for i in wanted]
    if goal.family.process is not None:
        facts.append(f"({_STATE_FACTS[goal.family.process]} {wanted[0]})")
    return f"(and {' '.join(facts)})"


def _lit(condition: str, *, lamp: str) -> str:
    """The agent stands where a receptacle holds the lamp, and the lamp meets the condition."""
    return (
        "(exists (?r - receptacle ?a - agent ?l - location) (and "
        f"{condition} (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle {lamp} ?r)))"
    )


def _kind_goal(goal: Goal) -> str:
    kind, target = f"{goal.objects[0]}Type", f"{goal.target}Type"
    if goal.family is Family.EXAMINE_IN_LIGHT:
        lamp = f"(objectType ?ot {target}) (toggleable ?ot) (isToggled ?ot)"
        return (
            "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location) (and "
            f"{lamp} (receptacleAtLocation ?r ?l) (atLocation ?a ?l) (inReceptacle ?ot ?r))) "
            f"(exists (?o - object ?a - agent) (and (objectType ?o {kind}) (holds ?a ?o))))"
        )
    process = goal.family.process
    first = f"(objectType ?o {kind}) (receptacleType ?r {target}) (inReceptacle ?o ?r)"
    if process is not None:
        first += f" ({process.needs.value} ?o) ({_STATE_FACTS[process]} ?o)"
    if goal.family is Family.PICK_TWO:
        first += (
            f" (exists (?p - object) (and (not (= ?o ?p)) (objectType ?p {kind}) "
            f"(receptacleType ?r {target}) (inReceptacle ?p ?r)))"
        )
    return f"(and (exists (?r - receptacle) (exists (?o - object) (and {first}))))"
