"""Households of invented kinds: none of these words is a kind of ALFWorld's.

Every world draws its own: which kinds there are, which of them open, what fits where and which one
cleans, heats or cools. So no word has a role of its own, and a model must read roles from its
context.
"""

from __future__ import annotations

from random import Random

from dyna.envs.household.vocabulary import (
    ObjectKind,
    Process,
    Property,
    ReceptacleKind,
    Room,
    Vocabulary,
)

# fmt: off
RECEPTACLES = (
    "crate", "locker", "bench", "rack", "trunk", "basket", "barrel", "niche", "pedestal", "chest",
    "bin", "kiosk", "altar", "stall", "tray", "vault", "sled", "wagon", "podium", "cubby",
)
OBJECTS = (
    "wrench", "lantern", "rope", "coin", "gem", "scroll", "helmet", "flute", "anvil", "shield",
    "compass", "dagger", "boot", "glove", "crown", "mask", "bell", "drum", "hammer", "quill",
    "amulet", "goblet",
)
# fmt: on
LAMP = "beacon"
_GOODS = frozenset({Property.PICKUPABLE, Property.CLEANABLE, Property.HEATABLE, Property.COOLABLE})
_NUM_KINDS = (7, 10)
"""Of receptacles and of objects in one world."""


def invent(rng: Random) -> Vocabulary:
    """A vocabulary of its own; equal generators give equal vocabularies."""
    receptacles = rng.sample(RECEPTACLES, _NUM_KINDS[0])
    objects = rng.sample(OBJECTS, _NUM_KINDS[1])
    processes = dict(zip(rng.sample(receptacles, 3), Process, strict=True))
    lamp_place = rng.choice(receptacles)
    fits = rng.choice([1.0, 1.0, 0.7])
    return Vocabulary(
        name="invented",
        receptacles=tuple(
            ReceptacleKind(
                name=name,
                openable=rng.random() < 0.4,
                holds=frozenset(o for o in objects if rng.random() < fits),
                bears=frozenset({LAMP} if name == lamp_place else ()),
                processes=frozenset({processes[name]} if name in processes else ()),
            )
            for name in receptacles
        ),
        objects=(
            *(ObjectKind(name=name, properties=_GOODS) for name in objects),
            ObjectKind(name=LAMP, properties=frozenset({Property.TOGGLEABLE})),
        ),
        rooms={
            "hall": Room(receptacles=dict.fromkeys(receptacles, (0, 3)), objects=(*objects, LAMP))
        },
        lamps=frozenset({LAMP}),
    )
