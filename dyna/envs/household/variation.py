"""Other tasks that a known house could pose: dreams need not repeat the tasks that were played.

A start says what stands where, so a new goal is a change of two sentences, and the world is not
touched. A task made up here is for dreams alone; no real house can be asked to play it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from dyna.envs.household.goals import goal_text
from dyna.envs.household.hidden_state import describe_goal
from dyna.envs.household.house import Family, Goal, GoalNaming
from dyna.envs.household.transcript import kind_of
from dyna.envs.household.vocabulary import Process, Property, Vocabulary
from dyna.types import Start, Task

_LINE = re.compile(
    r"^(?:On the|The) ([a-z]+ \d+)(?:,| is (?:open|closed)\. In it,) you see (.+)\.$"
)
_NAME = re.compile(r"an? ([a-z]+ \d+)")
_TASK = "Your task is to: "
_GOAL = "The task is done when: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A start, read: all that a new goal leaves as it is."""

    seen: str
    """The observation before the task."""
    told: str
    """The task's words."""
    state: str
    """The hidden state before the goal."""
    inside: Mapping[str, Sequence[str]]
    """What lies in or on each receptacle, by name."""


def read_scene(start: Start) -> Scene | None:
    """None without a hidden state, or where the observation poses no task."""
    seen, found, told = start.observation.partition(_TASK)
    if start.hidden_state is None or not found:
        return None
    state = start.hidden_state.partition(_GOAL)[0]
    lines = map(_LINE.match, state.splitlines())
    inside = {line[1]: _NAME.findall(line[2]) for line in lines if line}
    return Scene(seen=seen, told=told, state=state, inside=inside)


def pose(
    task: Task, start: Start, *, scene: Scene, goal: Goal, variant: int = 0
) -> tuple[Task, Start]:
    """The task and the start with another goal."""
    names = "/".join(name.replace(" ", "-") for name in (*goal.objects, goal.target))
    posed = replace(task, id=f"{task.id}/imagined/{names}", family=goal.family.value, params={})
    imagined = replace(
        start,
        observation=f"{scene.seen}{_TASK}{goal_text(goal, variant=variant)}.",
        hidden_state=scene.state + describe_goal(goal),
        admissible=None,
    )
    return posed, imagined


def vary(
    task: Task, start: Start, *, vocabulary: Vocabulary, seed: int
) -> tuple[Task, Start] | None:
    """The same house and the same kind of task, with another thing or another place.

    None where that cannot be: without a hidden state, for tasks that name kinds instead of
    instances, and where nothing else fits.
    """
    scene = read_scene(start)
    family = scene and _family(scene.told)
    if scene is None or family is None:
        return None
    options = _options(scene, family=family, vocabulary=vocabulary)
    if not options:
        return None
    things, target = Random(seed).choice(options)
    goal = Goal(family=family, naming=GoalNaming.INSTANCE, objects=things, target=target, text="")
    return pose(task, start, scene=scene, goal=goal)


_THING = r"[a-z]+ \d+"
_TOLD = {
    Family.PICK_AND_PLACE: rf"put {_THING} in ",
    Family.PICK_TWO: rf"put {_THING} and {_THING} in ",
    Family.EXAMINE_IN_LIGHT: rf"look at {_THING} under ",
    Family.CLEAN: rf"clean {_THING} and put it in ",
    Family.HEAT: rf"heat {_THING} and put it in ",
    Family.COOL: rf"cool {_THING} and put it in ",
}
"""How a task that names instances begins."""


def _family(told: str) -> Family | None:
    return next((family for family, words in _TOLD.items() if re.match(words, told)), None)


def _options(
    scene: Scene, *, family: Family, vocabulary: Vocabulary
) -> list[tuple[tuple[str, ...], str]]:
    """Every (things, target) that a goal of the family can name here, and that is not met yet."""
    process = family.process
    lying = [(thing, here) for here, things in scene.inside.items() for thing in things]
    if family is Family.EXAMINE_IN_LIGHT:
        lamps = [thing for thing, _ in lying if kind_of(thing) in vocabulary.lamps]
        return [
            ((thing,), lamp)
            for thing, _ in lying
            for lamp in lamps
            if Property.PICKUPABLE in vocabulary.object(kind_of(thing)).properties
        ]
    fitting = [
        (thing, place)
        for thing, here in lying
        for place in scene.inside
        if place != here
        and vocabulary.can_hold(kind_of(place), object_kind=kind_of(thing))
        and (process is None or _suits(process, thing=thing, place=place, words=vocabulary))
    ]
    if family is not Family.PICK_TWO:
        return [((thing,), place) for thing, place in fitting]
    return [
        ((first, second), place)
        for first, place in fitting
        for second, same in fitting
        if place == same and first < second and kind_of(first) == kind_of(second)
    ]


def _suits(process: Process, *, thing: str, place: str, words: Vocabulary) -> bool:
    """The thing can be cleaned, heated or cooled, and not by the place where it shall end."""
    able = process.needs in words.object(kind_of(thing)).properties
    return able and process not in words.receptacle(kind_of(place)).processes


__all__ = ["Scene", "pose", "read_scene", "vary"]
