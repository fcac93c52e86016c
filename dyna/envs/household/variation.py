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
from dyna.envs.household.vocabulary import Vocabulary
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
    """The same house, asked to bring another thing to another place.

    None where that cannot be put: without a hidden state, for tasks that name kinds instead of
    instances, and where nothing fits anywhere else.
    """
    scene = read_scene(start)
    if scene is None or not re.match(r"put [a-z]+ \d+ in ", scene.told):
        return None
    options = [
        (thing, place)
        for here, things in scene.inside.items()
        for thing in things
        for place in scene.inside
        if place != here and vocabulary.can_hold(kind_of(place), object_kind=kind_of(thing))
    ]
    if not options:
        return None
    thing, place = Random(seed).choice(options)
    goal = Goal(
        family=Family.PICK_AND_PLACE,
        naming=GoalNaming.INSTANCE,
        objects=(thing,),
        target=place,
        text="",
    )
    return pose(task, start, scene=scene, goal=goal)
