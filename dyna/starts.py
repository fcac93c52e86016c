"""Which real episodes dreams begin from: as the buffer holds them, or evenly over what was learned.

A stream's newest experience is most of what a buffer holds or draws, so dreams from unweighted
draws practice what is new and let the rest fade.
"""

from __future__ import annotations

from collections.abc import Iterable

from dyna.protocols import ReplayBuffer
from dyna.seeding import generator
from dyna.stream import experience_of
from dyna.types import Source, Task, Trajectory

_OVERSAMPLING = 8
"""Draws for each start that is wanted, so that what the buffer holds little of is among them."""
_MAX_DRAWS = 8
"""Times the buffer is asked before fewer starts than wanted are returned."""


def skill_of(task: Task) -> str:
    """The unit over which practice is balanced: the experience, outside a stream the family."""
    return experience_of(task) or f"{task.world}/{task.family}"


def draw_starts(
    replay: ReplayBuffer, *, num: int, max_turns: int, balance: bool, seed: int, round: int
) -> list[Trajectory]:
    """Up to `num` real episodes of the buffer, drawn with replacement.

    With `balance` every skill among them comes equally often, up to one; which come once more
    follows from `seed` and `round`. Rehearsed episodes that the buffer may hold start nothing.
    """
    if not balance:
        return draw_real(replay, num=num, max_turns=max_turns)
    drawn = draw_real(replay, num=_OVERSAMPLING * num, max_turns=max_turns)
    by_skill = group_by_skill(drawn)
    skills = sorted(by_skill)
    order: list[int] = generator(seed, "starts", round).permutation(len(skills)).tolist()
    turns = [by_skill[skills[place]] for place in order]
    starts: list[Trajectory] = []
    for k in range(num if turns else 0):
        own = turns[k % len(turns)]
        starts.append(own[(k // len(turns)) % len(own)])
    return starts


def draw_real(replay: ReplayBuffer, *, num: int, max_turns: int) -> list[Trajectory]:
    """Up to `num` real episodes, drawn with replacement as the buffer draws them."""
    found: list[Trajectory] = []
    for _ in range(_MAX_DRAWS):
        missing = num - len(found)
        if missing <= 0 or not len(replay):
            break
        found += _real(replay.sample(missing * max_turns))
    return found[:num]


def group_by_skill(trajectories: Iterable[Trajectory]) -> dict[str, list[Trajectory]]:
    grouped: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        grouped.setdefault(skill_of(trajectory.task), []).append(trajectory)
    return grouped


def _real(trajectories: Iterable[Trajectory]) -> list[Trajectory]:
    return [t for t in trajectories if t.source is Source.REAL and not t.stop.is_failure]


__all__ = ["draw_real", "draw_starts", "group_by_skill", "skill_of"]
