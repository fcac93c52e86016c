"""Other tasks that an official kitchen, bathroom or bedroom could pose, for dreams alone.

Official tasks name kinds ("put some mug on shelf"), so a made-up one is chosen among the kinds that
the hidden state tells of: something that fits where none of its kind lies yet.
"""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

from dyna.envs.alfworld.vocabulary import OFFICIAL
from dyna.envs.household.goals import goal_text
from dyna.envs.household.hidden_state import describe_goal
from dyna.envs.household.house import Family, Goal, GoalNaming
from dyna.envs.household.transcript import kind_of
from dyna.envs.household.vocabulary import Property
from dyna.types import Start, Task

_LINE = re.compile(
    r"^(?:On the|The) ([a-z]+ \d+)(?:,| is (?:open|closed)\. In it,) you see (.+)\.$"
)
_NAME = re.compile(r"an? ([a-z]+ \d+)")
_TASK = "Your task is to: "
_GOAL = "The task is done when: "


def vary(task: Task, start: Start, *, seed: int) -> tuple[Task, Start] | None:
    """The same house, asked to bring a thing of another kind to a place of another kind.

    None without a hidden state, and where nothing fits anywhere else.
    """
    scene, told, _ = start.observation.partition(_TASK)
    if start.hidden_state is None or not told:
        return None
    state = start.hidden_state.partition(_GOAL)[0]
    inside = {m[1]: _NAME.findall(m[2]) for m in map(_LINE.match, state.splitlines()) if m}
    lying = {(kind_of(thing), kind_of(place)) for place in inside for thing in inside[place]}
    options = sorted(
        (thing, place)
        for thing in {thing for thing, _ in lying if _is_portable(thing)}
        for place in {kind_of(place) for place in inside}
        if (thing, place) not in lying and OFFICIAL.can_hold(place, object_kind=thing)
    )
    if not options:
        return None
    rng = Random(seed)
    thing, place = rng.choice(options)
    goal = Goal(
        family=Family.PICK_AND_PLACE,
        naming=GoalNaming.KIND,
        objects=(thing,),
        target=place,
        text="",
    )
    imagined = replace(
        start,
        observation=f"{scene}{_TASK}{goal_text(goal, variant=rng.randrange(2))}.",
        hidden_state=state + describe_goal(goal),
        admissible=None,
    )
    posed = replace(
        task,
        id=f"{task.id}/imagined/{thing}/{place}",
        family=Family.PICK_AND_PLACE.value,
        params={},
    )
    return posed, imagined


def _is_portable(kind: str) -> bool:
    return OFFICIAL.has_object(kind) and Property.PICKUPABLE in OFFICIAL.object(kind).properties


__all__ = ["vary"]
