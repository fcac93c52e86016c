"""What the gate holds out: by id alone, in equal shares, within a bound of bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dyna.stream import EXPERIENCE
from dyna.types import Trajectory
from tests.unit.worldmodels.corridor_text import episodes
from worldmodels.held_out import HeldOutMemory, experience_name


def walks(num: int, *, experience: str, name: str = "") -> list[Trajectory]:
    found = episodes(num, name=name or experience)
    return [
        replace(t, task=replace(t.task, params={**t.task.params, EXPERIENCE: experience}))
        for t in found
    ]


def memory(*, max_bytes: int = 2**20, seed: int = 0) -> HeldOutMemory:
    return HeldOutMemory(fraction=0.5, max_bytes=max_bytes, seed=seed)


def test_its_experience_is_the_streams_or_world_and_family() -> None:
    (walk,) = walks(1, experience="heat")
    assert experience_name(walk) == "heat"
    task = replace(walk.task, params={}, world="my world", family="put two")
    assert experience_name(replace(walk, task=task)) == "my_world/put_two"
    assert experience_name(replace(walk, task=replace(task, family=""))) == "my_world"


def test_bytes_are_bounded_and_shared_equally() -> None:
    held = memory(max_bytes=20_000)
    for day in range(10):
        for name, num in (("many", 40), ("some", 40), ("few", 1)):
            held.add(walks(num, experience=name, name=f"{name}{day}"))
        assert held.num_bytes <= 20_000
    shares = held.experiences
    assert shares["few"] == 10 and abs(shares["many"] - shares["some"]) <= 2
    assert sum(shares.values()) == len(held)


def test_what_is_kept_is_a_uniform_sample_whenever_it_came() -> None:
    """300 episodes in three parts, about 70 kept: each part has 23 by expectation, and fewer than
    8 or more than 39 in less than one of 10^4 draws; the seed makes it one draw."""
    held = memory(max_bytes=45 * 850)
    for part in "abc":
        held.add(walks(100, experience="one", name=part))
    kept = [trajectory.id[0] for trajectory in held.trajectories()]
    assert 55 <= len(kept) <= 85
    assert all(8 <= kept.count(part) <= 39 for part in "abc")


def test_the_order_of_coming_does_not_matter() -> None:
    found = walks(40, experience="a")
    forward, backward = memory(max_bytes=10_000), memory(max_bytes=10_000)
    forward.add(found)
    for trajectory in reversed(found):
        backward.add([trajectory])
    assert forward.trajectories() == backward.trajectories()


def test_an_episode_is_held_once() -> None:
    held = memory()
    held.add(walks(5, experience="a"))
    held.add(walks(5, experience="a"))
    assert len(held) == 5


def test_an_experience_that_is_true_no_more_is_forgotten() -> None:
    held = memory()
    held.add(walks(5, experience="a") + walks(5, experience="b"))
    held.retire("a")
    held.retire("unknown")
    assert held.experiences == {"b": 5}


def test_saved_and_loaded_it_goes_on_as_before(tmp_path: Path) -> None:
    held, again = memory(max_bytes=10_000), memory(max_bytes=10_000)
    held.add(walks(30, experience="a") + walks(3, experience="b"))
    held.save(str(tmp_path))
    again.load(str(tmp_path))
    assert again.trajectories() == held.trajectories() and again.num_bytes == held.num_bytes
    more = walks(30, experience="b", name="more")
    held.add(more)
    again.add(more)
    assert again.trajectories() == held.trajectories()


def test_a_share_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"holdout_fraction must be in \[0, 1\), got 1"):
        HeldOutMemory(fraction=1.0, max_bytes=1, seed=0)
