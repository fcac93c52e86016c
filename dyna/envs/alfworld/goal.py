"""The goal of a planning problem: one of ALFWorld's six kinds of task, or an error.

A goal is recognized by all of its conditions, counted: a goal that asks for more or less than one
of the six (a slice of bread, a mug in a pot) is refused instead of being taken for one it is like.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from dyna.envs.household.house import Family, Goal, GoalNaming

_IN = "inreceptacle"
_ATOM = re.compile(r"\(\s*([^\s()]+)([^()]*)\)")
_ALTERNATIVES = re.compile(r"\(\s*(or|forall|imply|when)\b")
_NOT = re.compile(r"\(\s*not\b(?!\s*\(\s*=)")
_PROCESSES = {
    Family.CLEAN: ("cleanable", "isclean"),
    Family.HEAT: ("heatable", "ishot"),
    Family.COOL: ("coolable", "iscool"),
}


class ProblemError(ValueError):
    """A text that is no problem of ALFWorld's; the message says what is wrong with it."""


def _shapes() -> dict[frozenset[tuple[str, int]], tuple[Family, GoalNaming]]:
    """Which conditions, how often, ask for what."""
    by_kind = {
        Family.PICK_AND_PLACE: "inreceptacle objecttype receptacletype",
        Family.PICK_TWO: "inreceptacle inreceptacle objecttype objecttype = "
        "receptacletype receptacletype",
        Family.EXAMINE_IN_LIGHT: "objecttype objecttype toggleable istoggled "
        "receptacleatlocation atlocation inreceptacle holds",
        **{
            family: f"{able} {done} inreceptacle objecttype receptacletype"
            for family, (able, done) in _PROCESSES.items()
        },
    }
    by_instance = {
        Family.PICK_AND_PLACE: "inreceptacle",
        Family.PICK_TWO: "inreceptacle inreceptacle",
        Family.EXAMINE_IN_LIGHT: "istoggled receptacleatlocation atlocation inreceptacle holds",
        **{family: f"inreceptacle {done}" for family, (_, done) in _PROCESSES.items()},
    }
    return {
        frozenset(Counter(words.split()).items()): (family, naming)
        for naming, shapes in ((GoalNaming.KIND, by_kind), (GoalNaming.INSTANCE, by_instance))
        for family, words in shapes.items()
    }


_SHAPES = _shapes()


def read_goal(text: str, *, names: Mapping[str, str]) -> Goal:
    """The goal in PDDL, in lower case, without its wording (`text` of the result is empty).

    `names` are those of all instances, by id. Raises `ProblemError` for any other goal.
    """
    atoms = [(predicate, rest.split()) for predicate, rest in _ATOM.findall(text)]
    # The variables of a quantifier stand in brackets as conditions do.
    atoms = [(predicate, rest) for predicate, rest in atoms if not predicate.startswith("?")]
    shape = frozenset(Counter(predicate for predicate, _ in atoms).items())
    found = _SHAPES.get(shape)
    if found is None or _ALTERNATIVES.search(text) or _NOT.search(text):
        raise ProblemError(
            f"the goal {' '.join(text.split())[:200]!r} is none of ALFWorld's six kinds of task"
        )
    family, naming = found
    if naming is GoalNaming.KIND:
        objects, target = _kinds(atoms, family=family)
    else:
        objects, target = _instances(atoms, family=family, names=names)
    return Goal(family=family, naming=naming, objects=objects, target=target, text="")


def _kinds(atoms: Sequence[tuple[str, list[str]]], *, family: Family) -> tuple[tuple[str], str]:
    kind_of = {
        arguments[0]: arguments[1].removesuffix("type")
        for predicate, arguments in atoms
        if predicate in ("objecttype", "receptacletype")
    }
    if family is Family.EXAMINE_IN_LIGHT:
        lamp, held = _of(atoms, predicate="istoggled")[0], _of(atoms, predicate="holds")[1]
        return (kind_of[held],), kind_of[lamp]
    pairs = {(kind_of[a[0]], kind_of[a[1]]) for predicate, a in atoms if predicate == _IN}
    if len(pairs) > 1:
        raise ProblemError(f"the goal asks for different kinds at once: {sorted(pairs)}")
    ((kind, target),) = pairs
    return (kind,), target


def _instances(
    atoms: Sequence[tuple[str, list[str]]], *, family: Family, names: Mapping[str, str]
) -> tuple[tuple[str, ...], str]:
    if family is Family.EXAMINE_IN_LIGHT:
        lamp, held = _of(atoms, predicate="istoggled")[0], _of(atoms, predicate="holds")[1]
        return (names[held],), names[lamp]
    things = sorted(names[a[0]] for predicate, a in atoms if predicate == _IN)
    targets = {names[a[1]] for predicate, a in atoms if predicate == _IN}
    if len(targets) > 1:
        raise ProblemError(f"the goal asks for several places at once: {sorted(targets)}")
    return tuple(things), targets.pop()


def _of(atoms: Sequence[tuple[str, list[str]]], *, predicate: str) -> list[str]:
    return next(arguments for name, arguments in atoms if name == predicate)


__all__ = ["ProblemError", "read_goal"]
