"""Households of other places, by name: `invented:7` is one vocabulary, the same everywhere.

A stream of worlds needs households that differ in what there is to know. Here a seed chooses a
theme, whose words no other theme has and ALFWorld neither, and then draws the roles: which kinds
open, what fits where, which one cleans, heats or cools what, and where the lamp stands. Seeds that
follow each other take themes that follow each other, so `invented:0` to `invented:7` share no word.
Seeds a whole round apart (0 and 8) share their words and contradict each other about the roles.
"""

from __future__ import annotations

from functools import lru_cache
from random import Random

from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.envs.household.vocabulary import (
    ObjectKind,
    Process,
    Property,
    ReceptacleKind,
    Room,
    Vocabulary,
)
from dyna.seeding import derive_seed

THEMES: dict[str, tuple[str, str, str]] = {
    "workshop": (
        "workbench pegboard toolbox trolley sawhorse hopper kiln vise gantry lathe",
        "pliers chisel bolt gear clamp rivet mallet sandpaper spool bracket washer rasp",
        "headlamp worklight",
    ),
    "castle": (
        "throne armory hearth cauldron casket dais alcove turret gatehouse crypt",
        "chalice scepter gauntlet banner tapestry lute sword halberd tiara brooch parchment orb",
        "torch sconce",
    ),
    "farm": (
        "trough haystack coop silo manger henhouse churn wheelbarrow granary paddock",
        "pumpkin carrot turnip horseshoe saddle pitchfork sickle feather acorn cabbage honeycomb "
        "bridle",
        "barnlight floodlight",
    ),
    "ship": (
        "hatch galley bunk mast capstan helm winch dinghy hammock porthole",
        "sextant harpoon buoy oar net anchor sail pulley telescope flag cork paddle",
        "searchlight flare",
    ),
    "laboratory": (
        "fumehood centrifuge incubator autoclave freezer cryobox glovebox workstation desiccator "
        "carousel",
        "beaker pipette vial flask magnet prism crystal syringe funnel thermometer tweezers "
        "cuvette",
        "laser microscope",
    ),
    "theater": (
        "stage wardrobe balcony lectern catwalk lobby footlocker vanity riser loge",
        "wig costume fan puppet script trumpet violin baton slipper corset cape ribbon",
        "spotlight projector",
    ),
    "bakery": (
        "oven griddle pantry showcase breadbox proofer cooler conveyor rotisserie mixer",
        "baguette muffin pretzel donut scone biscuit croissant tart cookie brownie waffle bagel",
        "heatlamp neonsign",
    ),
    "garden": (
        "greenhouse shed compost birdbath pergola planter fountain gazebo hothouse arbor",
        "trowel rake seed bulb hose tulip rose daisy fern gnome pebble shears",
        "firefly floodlamp",
    ),
}
"""Theme to the words of its receptacles, its objects and its lamps."""

_NUM_RECEPTACLES = 7
_NUM_OBJECTS = 10
_NUM_OPENABLE = (2, 3)
_NUM_HOMES = (4, 6)
"""Kinds of receptacle that one kind of object fits in, both inclusive."""
_NUM_STANDS = 2
"""Kinds of receptacle that the lamp may stand on."""
_NUM_ABLE = 7
"""Kinds of object that can be cleaned; as many can be heated, and cooled."""
INVENTED, RECAST = "invented", "recast"
_NUM_CASTS = 4
"""Parts of ALFWorld's words, no word in two of them."""


def vocabulary_named(name: str) -> Vocabulary:
    """`alfworld`; `invented:<seed>`, other places; `recast:<seed>`, ALFWorld's words in new roles.

    Seeds are 0 or above; `recast:0` to `recast:3` share no word. Equal names give one object.
    Raises `ValueError` for any other name.
    """
    if name == ALFWORLD.name:
        return ALFWORLD
    kind, _, digits = name.partition(":")
    if kind not in (INVENTED, RECAST) or not (digits.isascii() and digits.isdecimal()):
        raise ValueError(
            f"vocabulary must be {ALFWORLD.name!r}, or '{INVENTED}:<seed>' or '{RECAST}:<seed>' "
            f"such as '{INVENTED}:7', got {name!r}"
        )
    if str(int(digits)) != digits:
        raise ValueError(f"vocabulary {name!r} must be written '{kind}:{int(digits)}'")
    return _invent(int(digits)) if kind == INVENTED else _recast(int(digits))


@lru_cache(maxsize=64)
def _invent(seed: int) -> Vocabulary:
    theme = list(THEMES)[seed % len(THEMES)]
    places, things, lamps = (words.split() for words in THEMES[theme])
    rng = Random(derive_seed(seed, "invented_vocabulary"))
    return _cast(
        f"{INVENTED}:{seed}", room=theme, places=places, things=things, lamps=lamps, rng=rng
    )


@lru_cache(maxsize=64)
def _recast(seed: int) -> Vocabulary:
    """A part of ALFWorld's words. Which one is by `seed` alone; what they do in it, too."""
    shuffle = Random(derive_seed(0, "recast_vocabulary"))
    places = [kind.name for kind in ALFWORLD.receptacles]
    things = [kind.name for kind in ALFWORLD.objects]
    shuffle.shuffle(places)
    shuffle.shuffle(things)
    part = seed % _NUM_CASTS
    lamp, *others = things[part::_NUM_CASTS]
    return _cast(
        f"{RECAST}:{seed}",
        room=f"hall {part}",
        places=places[part::_NUM_CASTS],
        things=others,
        lamps=[lamp],
        rng=Random(derive_seed(seed, "recast_vocabulary")),
    )


def _cast(
    name: str,
    *,
    room: str,
    places: list[str],
    things: list[str],
    lamps: list[str],
    rng: Random,
) -> Vocabulary:
    """Draw some of the words, and what each of them does."""
    places = sorted(rng.sample(places, _NUM_RECEPTACLES))
    things = sorted(rng.sample(things, _NUM_OBJECTS))
    lamp = rng.choice(lamps)
    openable = set(rng.sample(places, rng.randint(*_NUM_OPENABLE)))
    tools = dict(zip(rng.sample(places, len(Process)), Process, strict=True))
    stands = set(rng.sample([place for place in places if place not in openable], _NUM_STANDS))
    homes = {thing: set(rng.sample(places, rng.randint(*_NUM_HOMES))) for thing in things}
    able = {process: set(rng.sample(things, _NUM_ABLE)) for process in Process}
    return Vocabulary(
        name=name,
        receptacles=tuple(
            ReceptacleKind(
                name=place,
                openable=place in openable,
                holds=frozenset(thing for thing in things if place in homes[thing]),
                bears=frozenset({lamp} if place in stands else ()),
                processes=frozenset({tools[place]} if place in tools else ()),
            )
            for place in places
        ),
        objects=(
            *(
                ObjectKind(
                    name=thing,
                    properties=frozenset({Property.PICKUPABLE})
                    | {process.needs for process in Process if thing in able[process]},
                )
                for thing in things
            ),
            ObjectKind(name=lamp, properties=frozenset({Property.TOGGLEABLE})),
        ),
        rooms={
            room: Room(receptacles=dict.fromkeys(places, (1, 3)), objects=(*things, lamp)),
        },
        lamps=frozenset({lamp}),
    )
