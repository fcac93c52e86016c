"""What the world model is told and the agent is not: the goals, every room, what lies shut away.

All of it is read from the simulator's objects. Nobody walks or teleports for it, no time passes,
and each room is asked for its own description, so that none can be taken for another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dyna.envs.scienceworld.simulator import Simulator

_GOAL = re.compile(r"^\d+\t(true|false)\t\s*(\S+)\t(.*)$")
_PARTS = frozenset({"terminal 1", "terminal 2", "anode", "cathode", "air", "agent", "inventory"})
"""What every thing or room has, and nobody needs to be told of."""


def describe_hidden_state(simulator: Simulator) -> str:
    """Goals and their progress, each room, the contents of closed things, unknown substances."""
    rooms = simulator.rooms()
    tree = json.loads(simulator.object_tree())
    sections = [
        *describe_goals(simulator.goal_progress()),
        "Commands, where OBJ is any thing:\n" + ", ".join(simulator.templates()),
        *(text for _, text in sorted(rooms)),
        *describe_shut_away(tree, rooms=[name for name, _ in rooms]),
        *describe_unknowns(tree),
    ]
    return "\n\n".join(sections)


def describe_goals(progress: str) -> list[str]:
    """The simulator's table of goals as two short lists, done ones marked.

    Example: a line `0\\tfalse\\t GoalFind\\tfocus on substance` becomes `- focus on substance`.
    """
    ordered, _, others = progress.partition("Unordered and Optional Subgoals:")
    sections: list[str] = []
    for title, part in (("Goals, in this order:", ordered), ("Goals that help:", others)):
        goals = [match for line in part.split("\n") if (match := _GOAL.match(line))]
        lines = [f"- {m[3].strip()}{' (done)' if m[1] == 'true' else ''}" for m in goals]
        if lines:
            sections.append("\n".join([title, *lines]))
    return sections


def describe_shut_away(tree: Mapping[str, Any], *, rooms: Sequence[str]) -> list[str]:
    """One line for each closed thing that holds something, by room."""
    lines: list[str] = []
    for room in sorted(_contents(tree), key=_name):
        if _name(room) not in rooms:
            continue
        for thing in _all_inside(room):
            container: Mapping[str, Any] = thing.get("propContainer") or {}
            held = _contents(thing)
            if held and container.get("isClosable") and not container.get("isOpen"):
                listed = ", ".join(sorted(_with_contents(inner) for inner in held))
                lines.append(f"- {_name(thing)} ({_name(room)}): {listed}")
    return ["\n".join(["Inside closed things:", *lines])] if lines else []


def describe_unknowns(tree: Mapping[str, Any]) -> list[str]:
    """What the task's unknown substances are like: the answers to its experiments."""
    lines: list[str] = []
    for thing in _all_inside(tree):
        material: Mapping[str, Any] = thing.get("propMaterial") or {}
        if not _name(thing).startswith("unknown") or not material:
            continue
        conducts = "conducts" if material.get("electricallyConductive") else "does not conduct"
        lines.append(
            f"- {_name(thing)}: {material.get('stateOfMatter')}, melts at "
            f"{material.get('meltingPoint')} degrees celsius, {conducts} electricity"
        )
    return ["\n".join(["Unknown substances:", *sorted(set(lines))])] if lines else []


def _name(thing: Mapping[str, Any]) -> str:
    return str(thing.get("name", ""))


def _contents(thing: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    held: Mapping[str, Mapping[str, Any]] = thing.get("contents") or {}
    return [inner for inner in held.values() if _name(inner) not in _PARTS]


def _all_inside(thing: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    held: Mapping[str, Mapping[str, Any]] = thing.get("contents") or {}
    for inner in held.values():
        yield inner
        yield from _all_inside(inner)


def _with_contents(thing: Mapping[str, Any]) -> str:
    held = _contents(thing)
    if not held:
        return _name(thing)
    return f"{_name(thing)} (containing {', '.join(sorted(map(_with_contents, held)))})"


__all__ = ["describe_goals", "describe_hidden_state", "describe_shut_away", "describe_unknowns"]
