"""ScienceWorld's thirty task types, their numbers of variations, and the official split of those.

The counts belong to the simulator's version; a test compares them with the installed package. With
them, tasks can be listed without starting Java.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dyna.nearest import did_you_mean

SPLITS = ("train", "dev", "test")
"""Half, a quarter and a quarter of each task's variations, as `getVariationsTrain` etc. say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """Example: `TaskType(id="1-2", name="melt", num_variations=30)`"""

    id: str
    """As the ScienceWorld paper numbers it: topic and task."""
    name: str
    num_variations: int

    @property
    def is_electrical(self) -> bool:
        """Cannot be done without connecting wires."""
        return "power-component" in self.name or "conductivity" in self.name

    def variations(self, split: str) -> range:
        """The variations of a split. Source: `PythonInterface.getSets` of the simulator."""
        quarter = self.num_variations // 4
        if split == "train":
            return range(2 * quarter)
        if split == "dev":
            return range(2 * quarter, 3 * quarter)
        # What is left over by the division goes to the test set, up to one more quarter.
        return range(3 * quarter, min(5 * quarter, self.num_variations))


TASK_TYPES: tuple[TaskType, ...] = tuple(
    TaskType(id=task_id, name=name, num_variations=num_variations)
    for task_id, name, num_variations in (
        ("1-1", "boil", 30),
        ("1-2", "melt", 30),
        ("1-3", "freeze", 30),
        ("1-4", "change-the-state-of-matter-of", 30),
        ("2-1", "use-thermometer", 540),
        ("2-2", "measure-melting-point-known-substance", 436),
        ("2-3", "measure-melting-point-unknown-substance", 300),
        ("3-1", "power-component", 20),
        ("3-2", "power-component-renewable-vs-nonrenewable-energy", 20),
        ("3-3", "test-conductivity", 900),
        ("3-4", "test-conductivity-of-unknown-substances", 600),
        ("4-1", "find-living-thing", 300),
        ("4-2", "find-non-living-thing", 300),
        ("4-3", "find-plant", 300),
        ("4-4", "find-animal", 300),
        ("5-1", "grow-plant", 126),
        ("5-2", "grow-fruit", 126),
        ("6-1", "chemistry-mix", 32),
        ("6-2", "chemistry-mix-paint-secondary-color", 36),
        ("6-3", "chemistry-mix-paint-tertiary-color", 36),
        ("7-1", "lifespan-longest-lived", 125),
        ("7-2", "lifespan-shortest-lived", 125),
        ("7-3", "lifespan-longest-lived-then-shortest-lived", 125),
        ("8-1", "identify-life-stages-1", 14),
        ("8-2", "identify-life-stages-2", 10),
        ("9-1", "inclined-plane-determine-angle", 168),
        ("9-2", "inclined-plane-friction-named-surfaces", 1386),
        ("9-3", "inclined-plane-friction-unnamed-surfaces", 162),
        ("10-1", "mendelian-genetics-known-plant", 120),
        ("10-2", "mendelian-genetics-unknown-plant", 480),
    )
)

PRESETS: Mapping[str, frozenset[str]] = {
    "all": frozenset(),
    "paper": frozenset({"5-1", "5-2", "9-1", "9-2", "9-3", "10-1", "10-2"}),
}
"""Names of choices of tasks, each with the numbers of the task types that it leaves out."""

SIMPLIFICATIONS = (
    "easy",
    "teleportAction",
    "openDoors",
    "openContainers",
    "selfWateringFlowerPots",
    "noElectricalAction",
)


def choose_types(names: Sequence[str], *, preset: str) -> tuple[TaskType, ...]:
    """The task types by name or number (empty: all of the preset), in the paper's order.

    Raises `ValueError` for an unknown name, and for names together with a preset of its own,
    `TypeError` for what is no list.
    """
    given: object = names  # it comes from YAML
    if not isinstance(given, list | tuple):
        raise TypeError(f"scienceworld tasks must be a list of names, got {names!r}")
    if preset not in PRESETS:
        raise ValueError(f"scienceworld preset must be one of {list(PRESETS)}, got {preset!r}")
    if not names:
        return tuple(kind for kind in TASK_TYPES if kind.id not in PRESETS[preset])
    if preset != "all":
        raise ValueError(f"scienceworld takes tasks or preset={preset!r}, not both; leave one out")
    known = {kind.name: kind for kind in TASK_TYPES} | {kind.id: kind for kind in TASK_TYPES}
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"; known: {', '.join(k.name for k in TASK_TYPES)}"
            raise ValueError(f"scienceworld has no task {name!r}{hint}")
    chosen = {known[name].name for name in names}
    return tuple(kind for kind in TASK_TYPES if kind.name in chosen)


def clean_simplifications(text: str, *, kinds: Sequence[TaskType]) -> str:
    """`text` with its names in a fixed order and no blanks. Raises `ValueError` for an unknown one,
    and for leaving out the wires that a chosen task needs."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    for name in given:
        if name not in SIMPLIFICATIONS:
            hint = did_you_mean(name, SIMPLIFICATIONS) or f"; known: {', '.join(SIMPLIFICATIONS)}"
            raise ValueError(f"scienceworld has no simplification {name!r}{hint}")
    if "easy" in given and len(set(given)) > 1:
        raise ValueError(f"scienceworld simplification easy stands alone, got {text!r}")
    wired = [kind.name for kind in kinds if kind.is_electrical]
    if "noElectricalAction" in given and wired:
        raise ValueError(
            f"scienceworld task {wired[0]!r} cannot be done with noElectricalAction; name the "
            "`tasks` to play without it, or leave the simplification out"
        )
    return ",".join(name for name in SIMPLIFICATIONS if name in given)


def interleave(kinds: Sequence[TaskType], *, split: str) -> list[tuple[TaskType, int]]:
    """All variations of a split, one of every task type in turn: the first few cover all types."""
    pools = [(kind, kind.variations(split)) for kind in kinds]
    rounds = max((len(pool) for _, pool in pools), default=0)
    return [(kind, pool[i]) for i in range(rounds) for kind, pool in pools if i < len(pool)]


__all__ = [
    "PRESETS",
    "SIMPLIFICATIONS",
    "SPLITS",
    "TASK_TYPES",
    "TaskType",
    "choose_types",
    "clean_simplifications",
    "interleave",
]
