"""Other tasks that a known house could pose: dreams need not repeat the tasks that were played.

A start says what stands where, so a new goal is a change of two sentences, and the world is not
touched. A task made up here is for dreams alone; no real house can be asked to play it.
"""

from __future__ import annotations

import re
from dataclasses import replace
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


def vary(
    task: Task, start: Start, *, vocabulary: Vocabulary, seed: int
) -> tuple[Task, Start] | None:
    """The same house, asked to bring another thing to another place.

    None where that cannot be put: without a hidden state, for tasks that name kinds instead of
    instances, and where nothing fits anywhere else.
    """
    scene, told, rest = start.observation.partition(_TASK)
    if start.hidden_state is None or not told or not re.match(r"put [a-z]+ \d+ in ", rest):
        return None
    state = start.hidden_state.partition(_GOAL)[0]
    inside = {m[1]: _NAME.findall(m[2]) for m in map(_LINE.match, state.splitlines()) if m}
    options = [
        (thing, place)
        for here, things in inside.items()
        for thing in things
        for place in inside
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
    imagined = replace(
        start,
        observation=f"{scene}{_TASK}{goal_text(goal, variant=0)}.",
        hidden_state=state + describe_goal(goal),
        admissible=None,
    )
    posed = replace(
        task,
        id=f"{task.id}/imagined/{thing.replace(' ', '-')}/{place.replace(' ', '-')}",
        family=Family.PICK_AND_PLACE.value,
        params={},
    )
    return posed, imagined
