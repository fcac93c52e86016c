"""ALFWorld's words as tables: which receptacles a room has, what fits where, what can be done.

Facts of ALFWorld's 120 rooms, written down by receptacle; the counts are near the middle of what
the official rooms have. See `vocabulary` for the attribution.
"""

from __future__ import annotations

from dyna.envs.household.vocabulary import (
    ObjectKind,
    Process,
    Property,
    ReceptacleKind,
    Room,
    Vocabulary,
)

_OPENABLE = "cabinet drawer fridge microwave safe"
_PROCESSES = {"sinkbasin": Process.CLEAN, "microwave": Process.HEAT, "fridge": Process.COOL}

_HOLDS = {
    "armchair": "book box cellphone cloth creditcard keychain laptop newspaper pillow "
    "remotecontrol",
    "bathtubbasin": "cloth dishsponge handtowel soapbar",
    "bed": "baseballbat basketball book cellphone laptop pillow tennisracket",
    "cabinet": "book bowl box candle cd cloth cup dishsponge glassbottle handtowel kettle ladle "
    "mug newspaper pan peppershaker plate plunger pot saltshaker soapbar soapbottle spraybottle "
    "tissuebox toiletpaper vase wateringcan winebottle",
    "cart": "candle cloth dishsponge handtowel plunger soapbar soapbottle spraybottle tissuebox "
    "toiletpaper",
    "coffeemachine": "mug",
    "coffeetable": "book bowl box candle cellphone creditcard keychain laptop newspaper pen pencil "
    "plate remotecontrol statue tissuebox vase watch wateringcan",
    "countertop": "alarmclock apple book bowl bread butterknife candle cd cellphone cloth "
    "creditcard cup dishsponge egg fork glassbottle handtowel kettle keychain knife ladle laptop "
    "lettuce mug pan pen pencil peppershaker plate pot potato remotecontrol saltshaker soapbar "
    "soapbottle spatula spoon spraybottle statue tissuebox toiletpaper tomato vase winebottle",
    "desk": "alarmclock basketball book bowl box cd cellphone cloth creditcard keychain laptop mug "
    "pen pencil remotecontrol statue tennisracket tissuebox vase watch wateringcan",
    "diningtable": "alarmclock apple baseballbat basketball book bowl box bread butterknife candle "
    "cd cellphone cloth creditcard cup dishsponge egg fork glassbottle kettle keychain knife ladle "
    "laptop lettuce mug newspaper pan pen pencil peppershaker plate pot potato remotecontrol "
    "saltshaker soapbottle spatula spoon spraybottle statue tennisracket tissuebox tomato vase "
    "watch wateringcan winebottle",
    "drawer": "book butterknife candle cd cellphone cloth creditcard dishsponge fork handtowel "
    "keychain knife ladle newspaper pen pencil peppershaker remotecontrol saltshaker soapbar "
    "soapbottle spatula spoon spraybottle tissuebox toiletpaper watch wateringcan",
    "dresser": "alarmclock basketball book bowl box candle cd cellphone cloth creditcard keychain "
    "laptop mug newspaper pen pencil plate remotecontrol spraybottle statue tennisracket tissuebox "
    "toiletpaper vase watch wateringcan",
    "fridge": "apple bowl bread cup egg glassbottle lettuce mug pan plate pot potato tomato "
    "winebottle",
    "garbagecan": "apple bread cd cloth dishsponge egg handtowel lettuce newspaper pen pencil "
    "potato soapbar soapbottle spraybottle tissuebox toiletpaper tomato winebottle",
    "handtowelholder": "handtowel",
    "laundryhamper": "cloth",
    "microwave": "apple bowl bread cup egg glassbottle mug plate potato tomato",
    "ottoman": "book box cellphone creditcard keychain laptop newspaper pillow remotecontrol",
    "safe": "cd cellphone creditcard keychain statue vase",
    "shelf": "alarmclock book bowl box candle cd cellphone cloth creditcard cup dishsponge "
    "glassbottle handtowel kettle keychain mug newspaper pen pencil peppershaker plate pot "
    "remotecontrol saltshaker soapbar soapbottle spraybottle statue tissuebox toiletpaper vase "
    "watch wateringcan winebottle",
    "sidetable": "alarmclock apple baseballbat basketball book bowl box bread butterknife candle "
    "cd cellphone cloth creditcard cup dishsponge egg fork handtowel kettle keychain knife laptop "
    "lettuce mug newspaper pan pen pencil peppershaker plate pot potato remotecontrol saltshaker "
    "soapbar soapbottle spatula spoon spraybottle statue tennisracket tissuebox toiletpaper tomato "
    "vase watch wateringcan winebottle",
    "sinkbasin": "apple bowl butterknife cloth cup dishsponge egg fork glassbottle handtowel "
    "kettle knife ladle lettuce mug pan plate pot potato soapbar spatula spoon tomato",
    "sofa": "book box cellphone creditcard keychain laptop newspaper pillow remotecontrol",
    "stoveburner": "kettle pan pot",
    "toaster": "",
    "toilet": "candle cloth dishsponge handtowel soapbar soapbottle spraybottle tissuebox "
    "toiletpaper",
    "toiletpaperhanger": "toiletpaper",
    "towelholder": "towel",
    "tvstand": "tissuebox",
}

_BEARS = {
    "coffeetable": "desklamp houseplant television",
    "countertop": "houseplant",
    "desk": "desklamp houseplant",
    "diningtable": "houseplant",
    "dresser": "desklamp houseplant television",
    "shelf": "desklamp houseplant",
    "sidetable": "desklamp houseplant",
    "tvstand": "television",
}

_PROPERTIES = {
    Property.CLEANABLE: "apple bowl butterknife cloth cup dishsponge egg fork kettle knife ladle "
    "lettuce mug pan plate pot potato soapbar spatula spoon tomato",
    Property.HEATABLE: "apple bread cup egg mug plate potato tomato",
    Property.COOLABLE: "apple bowl bread cup egg lettuce mug pan plate pot potato tomato "
    "winebottle",
    Property.SLICEABLE: "apple bread egg lettuce potato tomato",
    Property.TOGGLEABLE: "desklamp",
    Property.CUTS: "butterknife knife",
    Property.CONTAINER: "bowl box cup mug pan plate pot",
}

_FIXED = "desklamp houseplant television"


def _room(*, receptacles: str, objects: str, num_objects: tuple[int, int]) -> Room:
    """`receptacles` reads `name:least-most name:number ...`."""
    counts: dict[str, tuple[int, int]] = {}
    for word in receptacles.split():
        name, _, span = word.partition(":")
        least, _, most = span.partition("-")
        counts[name] = (int(least), int(most or least))
    return Room(receptacles=counts, objects=tuple(objects.split()), num_objects=num_objects)


_ROOMS = {
    "kitchen": _room(
        receptacles="cabinet:4-14 coffeemachine:1 countertop:1-3 diningtable:0-2 drawer:3-9 "
        "fridge:1 garbagecan:1 microwave:1 shelf:0-3 sidetable:0-1 sinkbasin:1 stoveburner:4 "
        "toaster:1",
        objects="apple bowl bread butterknife cup dishsponge egg fork glassbottle houseplant "
        "kettle knife ladle lettuce mug pan peppershaker plate pot potato saltshaker soapbottle "
        "spatula spoon statue tomato vase winebottle",
        num_objects=(20, 40),
    ),
    "livingroom": _room(
        receptacles="armchair:0-2 cabinet:0-4 coffeetable:0-2 desk:0-1 diningtable:0-1 drawer:0-7 "
        "dresser:0-1 garbagecan:1 ottoman:0-1 safe:0-1 shelf:0-6 sidetable:1-3 sofa:1-2 "
        "tvstand:0-1",
        objects="book bowl box candle cellphone creditcard desklamp houseplant keychain laptop "
        "newspaper pen pencil pillow plate remotecontrol statue television tissuebox vase watch "
        "wateringcan",
        num_objects=(12, 26),
    ),
    "bedroom": _room(
        receptacles="armchair:0-1 bed:1-2 desk:1-2 drawer:2-11 dresser:0-2 garbagecan:1 "
        "laundryhamper:0-1 safe:0-1 shelf:0-8 sidetable:0-2",
        objects="alarmclock baseballbat basketball book bowl box cd cellphone cloth creditcard "
        "desklamp houseplant keychain laptop mug pen pencil pillow statue tennisracket tissuebox "
        "vase watch",
        num_objects=(12, 28),
    ),
    "bathroom": _room(
        receptacles="bathtubbasin:0-1 cabinet:2-6 cart:0-1 countertop:1-2 drawer:0-6 "
        "garbagecan:1 handtowelholder:1-2 shelf:0-3 sidetable:0-1 sinkbasin:1-2 toilet:1 "
        "toiletpaperhanger:1 towelholder:1-2",
        objects="candle cloth dishsponge handtowel plunger soapbar soapbottle spraybottle "
        "tissuebox toiletpaper towel",
        num_objects=(10, 20),
    ),
}


def _build() -> Vocabulary:
    holds = {name: frozenset(words.split()) for name, words in _HOLDS.items()}
    bears = {name: frozenset(words.split()) for name, words in _BEARS.items()}
    fixed = set(_FIXED.split())
    properties = {prop: set(words.split()) for prop, words in _PROPERTIES.items()}
    object_names = sorted(fixed.union(*holds.values()))
    return Vocabulary(
        name="alfworld",
        receptacles=tuple(
            ReceptacleKind(
                name=name,
                openable=name in _OPENABLE.split(),
                holds=holds[name],
                bears=bears.get(name, frozenset()),
                processes=frozenset({_PROCESSES[name]} if name in _PROCESSES else ()),
            )
            for name in sorted(holds)
        ),
        objects=tuple(
            ObjectKind(
                name=name,
                properties=frozenset(
                    {prop for prop, names in properties.items() if name in names}
                    | (set() if name in fixed else {Property.PICKUPABLE})
                ),
            )
            for name in object_names
        ),
        rooms=_ROOMS,
        lamps=frozenset({"desklamp"}),
    )


ALFWORLD = _build()
"""ALFWorld's own vocabulary, with rooms `kitchen`, `livingroom`, `bedroom` and `bathroom`."""
