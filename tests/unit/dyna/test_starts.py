"""Where dreams begin: as the buffer holds it, or evenly over what was learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from dyna.replay import ReservoirBuffer
from dyna.starts import draw_starts, skill_of
from dyna.stream import EXPERIENCE
from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn


def episode(index: int, *, experience: str = "", family: str = "f") -> Trajectory:
    params = {EXPERIENCE: experience} if experience else {}
    return Trajectory(
        id=f"{experience}/{family}/{index}",
        task=Task(id=f"{index}", world="w", family=family, split="train", params=params),
        start=Start(observation="A room."),
        turns=(Turn(action=Action(command="go"), outcome=Outcome(observation="ok")),),
        stop=StopReason.STEP_LIMIT,
    )


def buffer(episodes: Sequence[Trajectory]) -> ReservoirBuffer:
    held = ReservoirBuffer(max_transitions=10_000, seed=3, accept_rehearsed=True)
    for trajectory in episodes:
        held.add(trajectory)
    return held


def counts(held: ReservoirBuffer, *, num: int, balance: bool, round: int = 0) -> Counter[str]:
    starts = draw_starts(held, num=num, max_turns=1, balance=balance, seed=0, round=round)
    return Counter(skill_of(start.task) for start in starts)


MANY_AND_FEW = [
    *(episode(k, experience="new") for k in range(180)),
    *(episode(k, experience="old") for k in range(20)),
]


def test_balanced_starts_are_as_many_of_each_experience() -> None:
    assert counts(buffer(MANY_AND_FEW), num=40, balance=True) == {"new": 20, "old": 20}


def test_otherwise_they_are_as_the_buffer_holds_them() -> None:
    """A tenth of 200 draws are of the old one: 20, and over 45 once in 10 million."""
    found = counts(buffer(MANY_AND_FEW), num=200, balance=False)
    assert found.total() == 200
    assert 4 <= found["old"] <= 45


def test_outside_a_stream_families_are_balanced() -> None:
    held = buffer([episode(0, family="heat"), *(episode(k, family="cool") for k in range(9))])
    assert counts(held, num=10, balance=True) == {"w/heat": 5, "w/cool": 5}


def test_which_experience_comes_once_more_changes_with_the_round() -> None:
    held = buffer(MANY_AND_FEW)
    more = {
        max(found, key=found.__getitem__)
        for found in (counts(held, num=3, balance=True, round=k) for k in range(12))
    }
    assert more == {"new", "old"}


def test_rehearsed_episodes_start_nothing() -> None:
    rehearsed = [replace(episode(k), source=Source.REHEARSED) for k in range(50)]
    held = buffer([*rehearsed, episode(99)])
    for balance in (False, True):
        starts = draw_starts(held, num=2, max_turns=1, balance=balance, seed=0, round=0)
        assert {start.id for start in starts} <= {"/f/99"}
    assert draw_starts(held, num=2, max_turns=1, balance=True, seed=0, round=0)


def test_an_empty_buffer_has_no_starts() -> None:
    for balance in (False, True):
        assert draw_starts(buffer([]), num=4, max_turns=1, balance=balance, seed=0, round=0) == []
