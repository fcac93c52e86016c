"""Houses from seeds: a layout of receptacles, a placement of objects, a goal that can be reached.

The split of a house is a function of its content alone (`split_of`): a layout belongs to the unseen
rooms or not by its hash, a placement in a seen layout belongs to `valid_seen` or `train` by its
own. No house can therefore be in two splits, whatever seeds and settings made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random

from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.goals import Wish, choose_goal, families_of_room, goal_text
from dyna.envs.household.house import (
    Family,
    GoalNaming,
    House,
    HouseObject,
    Receptacle,
    digest,
    layout_facts,
)
from dyna.envs.household.vocabulary import Property, Vocabulary
from dyna.seeding import derive_seed

SPLITS: tuple[str, ...] = ("train", "valid_seen", "valid_unseen")
_BUCKETS = 5
"""One layout in five is unseen; one placement in five of a seen layout is `valid_seen`."""
_MAX_ATTEMPTS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSpec:
    """What kind of house to make. Raises `ValueError` for what makes no house."""

    num_receptacles: int = 5
    """0 for a full-size room, as the vocabulary describes it."""
    num_objects: int = 4
    """0 for a full-size room's number. What the goal needs is always among them."""
    families: list[str] = field(default_factory=lambda: [Family.PICK_AND_PLACE.value])
    rooms: list[str] = field(default_factory=list[str])
    """Empty for all rooms of the vocabulary."""
    max_per_kind: int = 2
    """Most receptacles, and most objects, of one kind in a house; full-size rooms have their own
    numbers of receptacles and at most 3 objects of a kind."""
    goal_naming: str = GoalNaming.INSTANCE.value
    num_layouts: int = 256
    """Layouts per room that tasks share, as ALFWorld's rooms are shared; 0 for no limit."""
    locked: list[str] = field(default_factory=list[str])
    """Kinds of receptacle that must be unlocked before they open. A rule, not a thing: the houses,
    their splits and their keys are those of a world without locks."""

    def __post_init__(self) -> None:
        for name in self.families:
            if name not in list(Family):
                raise ValueError(f"families has {name!r}; choose from {[f.value for f in Family]}")
        if self.goal_naming not in list(GoalNaming):
            names = [n.value for n in GoalNaming]
            raise ValueError(f"goal_naming must be one of {names}, got {self.goal_naming!r}")
        if not self.families:
            raise ValueError("families must name at least one family, got none")
        for name, least in (("num_receptacles", 2), ("num_objects", 1)):
            value = getattr(self, name)
            if value != 0 and value < least:
                raise ValueError(f"{name} must be 0 (full size) or >= {least}, got {value}")
        if self.max_per_kind < 1:
            raise ValueError(f"max_per_kind must be >= 1, got {self.max_per_kind}")
        if self.num_layouts < 0:
            raise ValueError(f"num_layouts must be >= 0, got {self.num_layouts}")


def split_of(house: House) -> str:
    """The one split that a house with these receptacles and this placement can be in."""
    if _is_unseen(house.receptacles):
        return "valid_unseen"
    return "valid_seen" if int(house.placement_key(), 16) % _BUCKETS == 0 else "train"


def _is_unseen(receptacles: tuple[Receptacle, ...]) -> bool:
    return int(digest(layout_facts(receptacles)), 16) % _BUCKETS == 0


def generate_house(
    seed: int, *, spec: HouseSpec, vocabulary: Vocabulary, split: str | None = None
) -> House:
    """The house of a seed; of one split, if one is given. Equal arguments give equal houses.

    Raises `ValueError` for an unknown split or room, and when no house of the spec exists.
    """
    if split is not None and split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, got {split!r}")
    rooms = spec.rooms or sorted(vocabulary.rooms)
    if unknown := set(rooms) - vocabulary.rooms.keys():
        known = sorted(vocabulary.rooms)
        raise ValueError(f"rooms has {sorted(unknown)}; {vocabulary.name!r} knows {known}")
    _check_locks(spec.locked, vocabulary=vocabulary)
    rng = Random(derive_seed(seed, "house", vocabulary.name))
    family = Family(rng.choice(spec.families))
    possible = [room for room in rooms if family in families_of_room(vocabulary, room=room)]
    if not possible:
        raise ValueError(f"family {family.value!r} is possible in none of the rooms {rooms}")
    room = rng.choice(possible)
    for _ in range(_MAX_ATTEMPTS):
        number = rng.randrange(spec.num_layouts) if spec.num_layouts else rng.getrandbits(62)
        layout = _layout(
            number,
            room=room,
            num_receptacles=spec.num_receptacles,
            max_per_kind=spec.max_per_kind,
            families=tuple(spec.families),
            vocabulary=vocabulary,
            split=split and ("valid_unseen" if split == "valid_unseen" else "train"),
        )
        house = _furnish(rng, layout=layout, family=family, spec=spec, vocabulary=vocabulary)
        if house is None or (split is not None and split_of(house) != split):
            continue
        if not HouseholdGame(house).won:
            return _lock(house, kinds=spec.locked)
    raise ValueError(
        f"no house of family {family.value!r} in room {room!r} fits {spec}; "
        "allow more receptacles, objects or rooms"
    )


def _check_locks(kinds: Sequence[str], *, vocabulary: Vocabulary) -> None:
    openable = sorted(kind.name for kind in vocabulary.receptacles if kind.openable)
    if unknown := sorted(set(kinds) - set(openable)):
        raise ValueError(f"locked has {unknown}; what opens in {vocabulary.name!r} is {openable}")


def _lock(house: House, *, kinds: Sequence[str]) -> House:
    if not kinds:
        return house
    receptacles = tuple(replace(r, locked=r.kind in kinds) for r in house.receptacles)
    return replace(house, receptacles=receptacles)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Receptacles of a room, and where each kind of object may start in it."""

    room: str
    receptacles: tuple[Receptacle, ...]
    homes: dict[str, dict[str, list[int]]]
    """Object kind to receptacle kind to the receptacles of it, by index."""


@lru_cache(maxsize=4096)
def _layout(
    number: int,
    *,
    room: str,
    num_receptacles: int,
    max_per_kind: int,
    families: tuple[str, ...],
    vocabulary: Vocabulary,
    split: str | None,
) -> _Layout:
    """One of the pool that tasks share: of the unseen half for `valid_unseen`, else of the seen."""
    rng = Random(derive_seed(number, "layout", vocabulary.name, room))
    for _ in range(_MAX_ATTEMPTS):
        kinds = _receptacle_kinds(
            rng,
            room=room,
            num_receptacles=num_receptacles,
            max_per_kind=max_per_kind,
            families=families,
            vocabulary=vocabulary,
        )
        receptacles = _name_receptacles(kinds, vocabulary=vocabulary)
        if split is None or _is_unseen(receptacles) == (split == "valid_unseen"):
            homes = _homes(receptacles, vocabulary=vocabulary)
            return _Layout(room=room, receptacles=receptacles, homes=homes)
    raise ValueError(
        f"room {room!r} with {num_receptacles} receptacles has no layout for {split!r}; "
        "raise num_receptacles or max_per_kind"
    )


def _receptacle_kinds(
    rng: Random,
    *,
    room: str,
    num_receptacles: int,
    max_per_kind: int,
    families: tuple[str, ...],
    vocabulary: Vocabulary,
) -> Counter[str]:
    """How many of which kind, the tools of every wanted family among them."""
    counts = vocabulary.rooms[room].receptacles
    if not num_receptacles:
        return Counter({kind: rng.randint(*span) for kind, span in counts.items()})
    chosen: Counter[str] = Counter()
    possible = families_of_room(vocabulary, room=room)
    for name in families:
        process = Family(name).process
        if process is not None and Family(name) in possible:
            tools = [k for k in counts if process in vocabulary.receptacle(k).processes]
            chosen[rng.choice(tools)] = 1
        if name == Family.EXAMINE_IN_LIGHT and Family(name) in possible:
            stands = [k for k in counts if vocabulary.receptacle(k).bears & vocabulary.lamps]
            chosen[rng.choice(stands)] = 1
    pool = [
        kind
        for kind, (_, most) in counts.items()
        for _ in range(min(most, max_per_kind) - chosen[kind])
    ]
    missing = num_receptacles - chosen.total()
    if missing < 0 or missing > len(pool):
        raise ValueError(
            f"num_receptacles must be between {chosen.total()} and {chosen.total() + len(pool)} "
            f"in room {room!r} with max_per_kind={max_per_kind}, got {num_receptacles}"
        )
    chosen.update(rng.sample(pool, missing))
    return chosen


def _name_receptacles(kinds: Counter[str], *, vocabulary: Vocabulary) -> tuple[Receptacle, ...]:
    """Kinds in alphabetical order, numbers falling, as ALFWorld lists them."""
    names = [(kind, n) for kind in sorted(kinds) for n in range(kinds[kind], 0, -1)]
    return tuple(
        Receptacle(
            name=f"{kind} {number}",
            kind=kind,
            openable=vocabulary.receptacle(kind).openable,
            processes=vocabulary.receptacle(kind).processes,
            location=i,
        )
        for i, (kind, number) in enumerate(names)
    )


def _furnish(
    rng: Random, *, layout: _Layout, family: Family, spec: HouseSpec, vocabulary: Vocabulary
) -> House | None:
    """Choose a goal and place objects; None when this attempt comes to nothing."""
    room = vocabulary.rooms[layout.room]
    wish = choose_goal(
        rng,
        room=layout.room,
        family=family,
        receptacles=layout.receptacles,
        naming=GoalNaming(spec.goal_naming),
        vocabulary=vocabulary,
    )
    if wish is None:
        return None
    placed = list(wish.placed)
    most = spec.max_per_kind if spec.num_receptacles else 3
    wanted = spec.num_objects or rng.randint(*room.num_objects)
    counts = Counter(kind for kind, _ in placed)
    homes = layout.homes
    kinds = [kind for kind in room.objects if kind in homes]
    for _ in range(20 * wanted):
        if len(placed) >= wanted:
            break
        kind = rng.choice(kinds)
        if counts[kind] < _most_of(kind, most=most, vocabulary=vocabulary):
            # A kind of place first, then one of them: many drawers do not swallow everything.
            placed.append((kind, rng.choice(homes[kind][rng.choice(list(homes[kind]))])))
            counts[kind] += 1
    if len(placed) < wanted:
        return None
    return _finish(rng, layout=layout, placed=placed, wish=wish, vocabulary=vocabulary)


def _most_of(kind: str, *, most: int, vocabulary: Vocabulary) -> int:
    return most if Property.PICKUPABLE in vocabulary.object(kind).properties else 1


def _homes(
    receptacles: tuple[Receptacle, ...], *, vocabulary: Vocabulary
) -> dict[str, dict[str, list[int]]]:
    homes: dict[str, dict[str, list[int]]] = {}
    for i, receptacle in enumerate(receptacles):
        kind = vocabulary.receptacle(receptacle.kind)
        for thing in sorted(kind.holds | kind.bears):
            homes.setdefault(thing, {}).setdefault(receptacle.kind, []).append(i)
    return homes


def _finish(
    rng: Random,
    *,
    layout: _Layout,
    placed: list[tuple[str, int]],
    wish: Wish,
    vocabulary: Vocabulary,
) -> House:
    """Number the objects of each kind at random, and put the goal into words."""
    receptacles = layout.receptacles
    order = list(range(len(placed)))
    rng.shuffle(order)
    counts: Counter[str] = Counter()
    numbered: list[tuple[str, int, int]] = []  # (kind, -number, index into placed)
    for i in order:
        kind = placed[i][0]
        counts[kind] += 1
        numbered.append((kind, -counts[kind], i))
    names = {i: f"{kind} {-number}" for kind, number, i in numbered}
    objects = tuple(
        HouseObject(
            name=names[i],
            kind=kind,
            properties=vocabulary.object(kind).properties,
            receptacles=(placed[i][1],),
            location=receptacles[placed[i][1]].location,
        )
        for kind, _, i in sorted(numbered)
    )
    house = House(
        room=layout.room,
        receptacles=receptacles,
        objects=objects,
        fits=_fits(receptacles, objects=objects, vocabulary=vocabulary),
        goal=wish.goal(names, placed=placed, receptacles=receptacles),
    )
    variant = int(house.content_key(), 16)
    text = goal_text(house.goal, variant=variant)
    return replace(house, goal=replace(house.goal, text=text))


def _fits(
    receptacles: tuple[Receptacle, ...], *, objects: tuple[HouseObject, ...], vocabulary: Vocabulary
) -> frozenset[tuple[str, str]]:
    things = {thing.kind for thing in objects}
    return frozenset(
        (kind, thing)
        for kind in {receptacle.kind for receptacle in receptacles}
        for thing in vocabulary.receptacle(kind).holds & things
    )
