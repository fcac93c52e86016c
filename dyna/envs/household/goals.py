"""Which goals a room allows, how one is chosen, and how it is put into words.

With `GoalNaming.KIND` the words are ALFWorld's own; with `INSTANCE` the task names the very things,
so that whoever can match a name can read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from dyna.envs.household.house import Family, Goal, GoalNaming, Receptacle
from dyna.envs.household.vocabulary import Process, Property, Vocabulary

_KIND_TEXTS = {
    Family.PICK_AND_PLACE: ("put a {0} in {target}", "put some {0} on {target}"),
    Family.EXAMINE_IN_LIGHT: (
        "look at {0} under the {target}",
        "examine the {0} with the {target}",
    ),
    Family.CLEAN: ("put a clean {0} in {target}", "clean some {0} and put it in {target}"),
    Family.HEAT: ("put a hot {0} in {target}", "heat some {0} and put it in {target}"),
    Family.COOL: ("put a cool {0} in {target}", "cool some {0} and put it in {target}"),
    Family.PICK_TWO: ("put two {0} in {target}", "find two {0} and put them in {target}"),
}
_INSTANCE_TEXTS = {
    Family.PICK_AND_PLACE: "put {0} in {target}",
    Family.EXAMINE_IN_LIGHT: "look at {0} under {target}",
    Family.CLEAN: "clean {0} and put it in {target}",
    Family.HEAT: "heat {0} and put it in {target}",
    Family.COOL: "cool {0} and put it in {target}",
    Family.PICK_TWO: "put {0} and {1} in {target}",
}


def goal_text(goal: Goal, *, variant: int) -> str:
    """The task in words; `variant` chooses among ALFWorld's wordings."""
    if goal.naming is GoalNaming.INSTANCE:
        template = _INSTANCE_TEXTS[goal.family]
    else:
        templates = _KIND_TEXTS[goal.family]
        template = templates[variant % len(templates)]
    return template.format(*goal.objects, target=goal.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A goal before its objects have numbers."""

    family: Family
    naming: GoalNaming
    placed: tuple[tuple[str, int], ...]
    """(kind, receptacle index) of what must be in the house: the goal's objects, then the lamp."""
    target: int
    """Receptacle index; -1 when the target is the lamp, the last of `placed`."""

    def goal(
        self,
        names: Mapping[int, str],
        *,
        placed: Sequence[tuple[str, int]],
        receptacles: Sequence[Receptacle],
    ) -> Goal:
        """`names` are those of `placed`, of which this wish's own are the first."""
        by_kind = self.naming is GoalNaming.KIND
        last = len(self.placed) - 1
        if self.target >= 0:
            place = receptacles[self.target]
            target = place.kind if by_kind else place.name
        else:
            target = placed[last][0] if by_kind else names[last]
        wanted = range(2 if self.family is Family.PICK_TWO else 1)
        objects = (placed[0][0],) if by_kind else tuple(sorted(names[i] for i in wanted))
        return Goal(family=self.family, naming=self.naming, objects=objects, target=target, text="")


@lru_cache(maxsize=1024)
def families_of_room(vocabulary: Vocabulary, *, room: str) -> frozenset[Family]:
    """The families for which a room can have what they need."""
    counts = [kind for kind, (_, most) in vocabulary.rooms[room].receptacles.items() if most]
    kinds = [vocabulary.receptacle(kind) for kind in counts]
    things = [vocabulary.object(name) for name in vocabulary.rooms[room].objects]
    portable = [
        thing
        for thing in things
        if Property.PICKUPABLE in thing.properties and any(thing.name in k.holds for k in kinds)
    ]
    families: set[Family] = set()
    if any(sum(thing.name in k.holds for k in kinds) > 1 for thing in portable):
        families |= {Family.PICK_AND_PLACE, Family.PICK_TWO}
    lamps = vocabulary.lamps & {thing.name for thing in things}
    if portable and any((k.bears | k.holds) & lamps for k in kinds):
        families.add(Family.EXAMINE_IN_LIGHT)
    for family in Family:
        process = family.process
        if process is None or not any(process in k.processes for k in kinds):
            continue
        ends = [k for k in kinds if process not in k.processes]
        able = [thing for thing in portable if process.needs in thing.properties]
        if any(thing.name in end.holds for thing in able for end in ends):
            families.add(family)
    return frozenset(families)


def choose_goal(
    rng: Random,
    *,
    room: str,
    family: Family,
    receptacles: Sequence[Receptacle],
    naming: GoalNaming,
    vocabulary: Vocabulary,
) -> Wish | None:
    """A goal that these receptacles allow and that no placement of its objects meets; or None."""
    process = family.process
    if process and not any(process in r.processes for r in receptacles):
        return None
    kinds = _wanted_kinds(vocabulary, room=room, process=process)
    rng.shuffle(kinds)
    if family is Family.EXAMINE_IN_LIGHT:
        return _choose_light(
            rng, kinds=kinds, room=room, receptacles=receptacles, naming=naming, words=vocabulary
        )
    for kind in kinds:
        homes = _homes_of(kind, receptacles=receptacles, vocabulary=vocabulary)
        ends = [r for r in homes if process is None or process not in receptacles[r].processes]
        rng.shuffle(ends)
        for target in ends:
            starts = [
                r
                for r in homes
                if _is_elsewhere(r, target=target, receptacles=receptacles, naming=naming)
            ]
            if starts:
                number = 2 if family is Family.PICK_TWO else 1
                placed = tuple(
                    (kind, _pick(rng, options=starts, receptacles=receptacles))
                    for _ in range(number)
                )
                return Wish(family=family, naming=naming, placed=placed, target=target)
    return None


def _wanted_kinds(vocabulary: Vocabulary, *, room: str, process: Process | None) -> list[str]:
    needed = {Property.PICKUPABLE, process.needs} if process else {Property.PICKUPABLE}
    return [k for k in vocabulary.rooms[room].objects if needed <= vocabulary.object(k).properties]


def _homes_of(kind: str, *, receptacles: Sequence[Receptacle], vocabulary: Vocabulary) -> list[int]:
    return [i for i, r in enumerate(receptacles) if kind in vocabulary.receptacle(r.kind).holds]


def _is_elsewhere(
    r: int, *, target: int, receptacles: Sequence[Receptacle], naming: GoalNaming
) -> bool:
    if naming is GoalNaming.KIND:
        return receptacles[r].kind != receptacles[target].kind
    return r != target


def _pick(rng: Random, *, options: Sequence[int], receptacles: Sequence[Receptacle]) -> int:
    """A kind of receptacle first, then one of them."""
    kind = rng.choice(sorted({receptacles[r].kind for r in options}))
    return rng.choice([r for r in options if receptacles[r].kind == kind])


def _choose_light(
    rng: Random,
    *,
    kinds: Sequence[str],
    room: str,
    receptacles: Sequence[Receptacle],
    naming: GoalNaming,
    words: Vocabulary,
) -> Wish | None:
    lamps = [name for name in words.rooms[room].objects if name in words.lamps]
    stands = {
        lamp: [
            i
            for i, r in enumerate(receptacles)
            if lamp in words.receptacle(r.kind).bears | words.receptacle(r.kind).holds
        ]
        for lamp in lamps
    }
    lamps = [lamp for lamp in lamps if stands[lamp]]
    if not lamps:
        return None
    lamp = rng.choice(lamps)
    for kind in kinds:
        homes = _homes_of(kind, receptacles=receptacles, vocabulary=words)
        if homes and kind not in words.lamps:
            placed = (
                (kind, _pick(rng, options=homes, receptacles=receptacles)),
                (lamp, _pick(rng, options=stands[lamp], receptacles=receptacles)),
            )
            return Wish(family=Family.EXAMINE_IN_LIGHT, naming=naming, placed=placed, target=-1)
    return None
