"""TextWorld's challenges: the settings each takes, and its splits.

A split owns games by what is in them: a hash of the content sends every game to exactly one split.
A seed whose game belongs elsewhere is passed over, so no game can be in two splits, however few
distinct games a challenge has. Cooking brings splits of its own, by food and preparation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Setting = bool | int | str
"""The value of one setting; JSON."""

NUM_BUCKETS = 8
_ALL = tuple(range(NUM_BUCKETS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Which games of a challenge belong to a split."""

    buckets: tuple[int, ...] = _ALL
    """Of the `NUM_BUCKETS` that content is hashed to; a larger share is quicker to fill."""
    settings: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    """Settings that the split fixes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One generator of games."""

    defaults: Mapping[str, Setting]
    """Every setting a user may give, with its default."""
    choices: Mapping[str, tuple[Setting, ...]] = field(
        default_factory=dict[str, tuple[Setting, ...]]
    )
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    """Smallest and largest value of a number."""
    splits: Mapping[str, Split] = field(default_factory=dict[str, Split])


_BY_CONTENT = {
    "train": Split(buckets=(0, 1, 2, 3, 4, 5)),
    "valid": Split(buckets=(6,)),
    "test": Split(buckets=(7,)),
}

CHALLENGES: Mapping[str, Challenge] = {
    "tw-simple": Challenge(
        defaults={"rewards": "dense", "goal": "detailed"},
        choices={
            "rewards": ("dense", "balanced", "sparse"),
            "goal": ("detailed", "brief", "none"),
        },
        splits={
            **{
                name: Split(buckets=split.buckets, settings={"test": False})
                for name, split in _BY_CONTENT.items()
            },
            # The food to cook is one that no other game has: the challenge's own test games.
            "unseen": Split(settings={"test": True}),
        },
    ),
    "tw-coin_collector": Challenge(
        defaults={"level": 5}, ranges={"level": (1, 300)}, splits=_BY_CONTENT
    ),
    "tw-treasure_hunter": Challenge(
        defaults={"level": 5}, ranges={"level": (1, 30)}, splits=_BY_CONTENT
    ),
    "tw-cooking": Challenge(
        defaults={
            "recipe": 1,
            "take": 1,
            "go": 6,
            "open": True,
            "cook": True,
            "cut": True,
            "drop": False,
            "recipe_seed": 0,
        },
        choices={"go": (1, 6, 9, 12)},
        ranges={"recipe": (1, 5), "take": (0, 5), "recipe_seed": (0, 2**31 - 1)},
        splits={name: Split(settings={"split": name}) for name in ("train", "valid", "test")},
    ),
    "custom": Challenge(
        defaults={
            "world_size": 5,
            "nb_objects": 10,
            "quest_length": 5,
            "quest_breadth": 1,
            "nb_parallel_quests": 1,
            "theme": "house",
            "include_adj": False,
            "blend_descriptions": False,
            "ambiguous_instructions": False,
            "only_last_action": False,
            "entity_numbering": False,
        },
        choices={"theme": ("house", "basic")},
        ranges={
            "world_size": (1, 100),
            "nb_objects": (0, 200),
            "quest_length": (1, 50),
            "quest_breadth": (1, 10),
            "nb_parallel_quests": (1, 10),
        },
        splits=_BY_CONTENT,
    ),
}


def find_challenge(name: str) -> Challenge:
    """Raises `ValueError` for an unknown challenge."""
    if name not in CHALLENGES:
        raise ValueError(f"textworld challenge must be one of {', '.join(CHALLENGES)}; got {name}")
    return CHALLENGES[name]


def complete_settings(name: str, *, settings: Mapping[str, object]) -> dict[str, Setting]:
    """All settings of a challenge: the given ones, checked, and defaults for the rest.

    Raises `ValueError` for an unknown setting or a value out of range, `TypeError` for a value of
    another type.
    """
    challenge = find_challenge(name)
    complete = dict(challenge.defaults)
    for key, value in settings.items():
        if key not in complete:
            raise ValueError(
                f"textworld settings.{key} is not a setting of {name}; it takes: "
                f"{', '.join(complete)}"
            )
        complete[key] = _check(key, value=value, challenge=challenge)
    recipe, take = complete.get("recipe"), complete.get("take")
    if isinstance(recipe, int) and isinstance(take, int) and take > recipe:
        raise ValueError(f"textworld settings.take must be <= recipe ({recipe}), got {take}")
    return complete


def _check(key: str, *, value: object, challenge: Challenge) -> Setting:
    wanted = type(challenge.defaults[key])
    if not isinstance(value, bool | int | str) or type(value) is not wanted:
        raise TypeError(f"textworld settings.{key} must be a {wanted.__name__}, got {value!r}")
    choices = challenge.choices.get(key)
    if choices is not None and value not in choices:
        known = ", ".join(map(str, choices))
        raise ValueError(f"textworld settings.{key} must be one of {known}; got {value!r}")
    if isinstance(value, int) and key in challenge.ranges:
        low, high = challenge.ranges[key]
        if not low <= value <= high:
            raise ValueError(f"textworld settings.{key} must be in {low}..{high}, got {value}")
    return value


def bucket_of(content_key: str) -> int:
    """The bucket of a content hash (hexadecimal)."""
    return int(content_key[:8], 16) % NUM_BUCKETS


__all__ = [
    "CHALLENGES",
    "NUM_BUCKETS",
    "Challenge",
    "Setting",
    "Split",
    "bucket_of",
    "complete_settings",
    "find_challenge",
]
