"""Play a household task to its end with a behavior, and a vocabulary of invented words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from dyna.envs.household import (
    HouseholdWorld,
    ObjectKind,
    Process,
    Property,
    ReceptacleKind,
    Room,
    Vocabulary,
)
from dyna.seeding import derive_seed
from dyna.types import Action, Context, Start, Task, Turn


def play(
    world: HouseholdWorld, task: Task, *, behavior: Callable[[Context], str], max_turns: int = 60
) -> tuple[Start, list[Turn]]:
    """The episode, seeded by the task's id."""
    return asyncio.run(_play(world, task, behavior, max_turns))


async def _play(
    world: HouseholdWorld, task: Task, behavior: Callable[[Context], str], max_turns: int
) -> tuple[Start, list[Turn]]:
    env = world.make()
    start = await env.reset(task)
    turns: list[Turn] = []
    for number in range(max_turns):
        context = Context(
            task=task,
            start=start,
            turns=turns,
            length=len(turns),
            episode_id=task.id,
            seed=derive_seed(0, task.id, number),
        )
        action = Action(command=behavior(context))
        outcome = await env.step(action)
        turns.append(Turn(action=action, outcome=outcome))
        if outcome.stop is not None:
            break
    await env.close()
    return start, turns


def invented_vocabulary(seed: int) -> Vocabulary:
    """Kinds nobody ever met, with random properties and tools."""
    rng = Random(seed)
    syllables = ["bo", "ka", "zu", "mi", "re", "tol", "fe", "xan"]
    words = list({"".join(rng.choices(syllables, k=3)) for _ in range(60)})
    words.sort()
    things, places = words[:12], words[12:22]
    portable = frozenset({Property.PICKUPABLE})
    kinds = [
        ObjectKind(
            name=thing,
            properties=portable | {p.needs for p in Process if rng.random() < 0.6},
        )
        for thing in things
    ]
    lamp = ObjectKind(name=words[22], properties=frozenset({Property.TOGGLEABLE}))
    receptacles = [
        ReceptacleKind(
            name=place,
            openable=rng.random() < 0.4,
            holds=frozenset(rng.sample(things, 8)),
            bears=frozenset({lamp.name} if i < 3 else ()),
            processes=frozenset({list(Process)[i]} if i < 3 else ()),
        )
        for i, place in enumerate(places)
    ]
    room = Room(
        receptacles={place: (1, 2) for place in places},
        objects=(*things, lamp.name),
        num_objects=(8, 12),
    )
    return Vocabulary(
        name=f"invented{seed}",
        receptacles=tuple(receptacles),
        objects=(*kinds, lamp),
        rooms={"place": room},
        lamps=frozenset({lamp.name}),
    )
