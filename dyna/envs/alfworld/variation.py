"""Other tasks that an official kitchen, bathroom or bedroom could pose, for dreams alone.

Official tasks name kinds ("put some mug on shelf"), so a made-up one is chosen among the kinds that
the hidden state tells of: something that fits where none of its kind lies yet.
"""

from __future__ import annotations

from random import Random

from dyna.envs.alfworld.vocabulary import OFFICIAL
from dyna.envs.household.house import Family, Goal, GoalNaming
from dyna.envs.household.transcript import kind_of
from dyna.envs.household.variation import pose, read_scene
from dyna.envs.household.vocabulary import Property
from dyna.types import Start, Task


def vary(task: Task, start: Start, *, seed: int) -> tuple[Task, Start] | None:
    """The same house, asked to bring a thing of another kind to a place of another kind.

    None without a hidden state, and where nothing fits anywhere else.
    """
    scene = read_scene(start)
    if scene is None:
        return None
    inside = scene.inside
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
    return pose(task, start, scene=scene, goal=goal, variant=rng.randrange(2))


def _is_portable(kind: str) -> bool:
    return OFFICIAL.has_object(kind) and Property.PICKUPABLE in OFFICIAL.object(kind).properties


__all__ = ["vary"]
