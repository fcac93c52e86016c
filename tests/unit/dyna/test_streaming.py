"""Imagination that goes on while the policy learns: whole groups, once each, never too old."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dyna.config import ImaginationConfig, WorldConfig
from dyna.crew import LocalCrew
from dyna.envs.corridor import CorridorWorld
from dyna.imagination import Dream
from dyna.rollout import EpisodeSpec
from dyna.streaming import DreamStream, StalledError
from dyna.testing.leftovers import Leftovers
from dyna.types import Action, Context, Outcome, Start, Task, Trajectory

GROUP_SIZE = 2
TURN_S = 0.004


def task(name: str, *, turns: int) -> Task:
    return Task(id=name, world="clock", family="clock", split="train", params={"turns": turns})


def dreams(lengths: list[int], *, group_size: int = GROUP_SIZE) -> list[Dream]:
    """One group for each length, in turns; its first member is that long, the others are short."""
    return [
        Dream(
            spec=EpisodeSpec(
                task=task(f"task{group}", turns=length if member == 0 else 1),
                episode_id=f"dream{group}/{member}",
                group_id=f"dream{group}",
            ),
            start=Start(observation="Go."),
        )
        for group, length in enumerate(lengths)
        for member in range(group_size)
    ]


class Walker:
    """Takes a moment for every action, which carries the version it was chosen with."""

    def __init__(self) -> None:
        self.version = 0
        self.begun: dict[str, int] = {}
        self.acted_at: list[float] = []

    async def act(self, context: Context) -> Action:
        self.begun.setdefault(context.episode_id, self.version)
        await asyncio.sleep(TURN_S)
        self.acted_at.append(time.monotonic())
        return Action(command="go on", policy_version=self.version)


class Clock:
    """Ends an episode after the turns that its task says; hangs or breaks if told to."""

    version = 3

    def __init__(self, *, hangs: bool = False, breaks: bool = False) -> None:
        self._hangs = hangs
        self._breaks = breaks

    async def predict(self, context: Context, action: Action) -> Outcome:
        if self._breaks:
            raise OSError("the clock is broken")
        if self._hangs:
            await asyncio.Event().wait()
        over = context.length + 1 >= context.task.params["turns"]
        return Outcome(observation="Tick.", terminated=over)


def crew(walker: Walker, *, max_staleness: int, model: Clock | None = None) -> LocalCrew:
    return LocalCrew(
        world=CorridorWorld(num_doors=2),
        behaviors={"policy": walker},
        model=model or Clock(),
        config=WorldConfig(max_turns=5),
        imagination=ImaginationConfig(horizon=1000, max_staleness=max_staleness),
        request_timeout_s=0.5,
    )


@contextmanager
def streaming(
    lengths: list[int],
    *,
    walker: Walker | None = None,
    max_staleness: int = 1,
    per_update: int = 2,
    model: Clock | None = None,
) -> Iterator[tuple[DreamStream, LocalCrew]]:
    """A stream of dreams, after which nothing may be left behind."""
    before = Leftovers.now()
    made = crew(walker or Walker(), max_staleness=max_staleness, model=model)
    stream = made.stream(dreams(lengths), groups_per_update=per_update)
    try:
        yield stream, made
    finally:
        stream.close()
    assert not Leftovers.after(before)


def learn(made: LocalCrew, *, seconds: float = 0.0) -> None:
    """An update of the policy."""
    time.sleep(seconds)
    policy = made.behaviors["policy"]

    def publish() -> None:
        assert threading.current_thread().name == "dreams"
        policy.version += 1

    made.publish_policy = publish
    made.share_policy()


def drain(stream: DreamStream, made: LocalCrew, *, seconds: float = 0.0) -> list[list[Trajectory]]:
    """All batches, with an update after each."""
    batches: list[list[Trajectory]] = []
    while batch := stream.take():
        version = made.behaviors["policy"].version
        oldest = min(turn.action.policy_version for t in batch for turn in t.turns)
        assert version - oldest <= made.imagination.max_staleness
        batches.append(batch)
        learn(made, seconds=seconds)
    return batches


@pytest.mark.parametrize("max_staleness", [1, 2, 4])
def test_nothing_taken_is_older_than_the_cap_and_every_group_comes_back_once(
    max_staleness: int,
) -> None:
    lengths = [1, 40, 2, 5, 1, 80, 3, 1, 9, 1, 1, 30, 2, 1, 60, 1]
    with streaming(lengths, max_staleness=max_staleness) as (stream, made):
        taken = [t for batch in drain(stream, made, seconds=0.02) for t in batch]
        ids = Counter(t.id for t in taken + stream.stale)
    assert ids == {d.spec.episode_id: 1 for d in dreams(lengths)}
    sizes = Counter(t.group_id for t in taken) | Counter(t.group_id for t in stream.stale)
    assert set(sizes.values()) == {GROUP_SIZE}
    metrics = stream.metrics()
    assert metrics["imagined/dropped_stale_groups"] == len(stream.stale) / GROUP_SIZE
    assert metrics["imagined/largest_staleness"] <= max_staleness


def test_a_straggler_holds_back_nobody_and_is_dropped_when_it_has_grown_too_old() -> None:
    with streaming([400, *[1] * 9], max_staleness=1) as (stream, made):
        began = time.monotonic()
        first = [stream.take()]
        learn(made)
        first += [stream.take()]
        assert time.monotonic() - began < 400 * TURN_S / 2
        learn(made)
        rest = drain(stream, made)
    ids = [t.group_id for batch in [*first, *rest] for t in batch]
    assert "dream0" not in ids
    assert {t.group_id for t in stream.stale} == {"dream0"}
    assert stream.metrics()["imagined/dropped_stale_groups"] == 1
    versions = {turn.action.policy_version for t in stream.stale for turn in t.turns}
    assert len(versions) > 2, "the weights changed under the conversation"


def test_what_is_under_way_at_the_end_is_waited_for() -> None:
    with streaming([1, 1, 60], max_staleness=2) as (stream, made):
        batches = drain(stream, made)
    assert [{t.group_id for t in batch} for batch in batches] == [{"dream0", "dream1"}, {"dream2"}]
    assert not stream.stale


@pytest.mark.parametrize("max_staleness", [0, 1, 3])
def test_no_dream_begins_that_would_be_too_old_when_it_is_learned_from(max_staleness: int) -> None:
    walker = Walker()
    with streaming([1] * 12, walker=walker, max_staleness=max_staleness) as (stream, made):
        stream.take()
        time.sleep(20 * TURN_S)
        assert len(walker.begun) == 2 * (max_staleness + 1) * GROUP_SIZE
        learn(made)
        batches = drain(stream, made)
    assert len(batches) == 5
    assert not stream.stale
    learned_with = {t.id: version for version, b in enumerate(batches, start=1) for t in b}
    assert all(learned_with[id] - walker.begun[id] <= max_staleness for id in learned_with)


def test_dreams_go_on_while_the_policy_learns() -> None:
    walker = Walker()
    with streaming([2, 2, *[60] * 6], walker=walker, max_staleness=2) as (stream, made):
        stream.take()
        began = time.monotonic()
        learn(made, seconds=0.3)
        overlapping = [at for at in walker.acted_at if began < at < began + 0.3]
        drain(stream, made)
    assert len(overlapping) >= 20


def test_a_group_comes_in_its_own_order_whoever_of_it_ended_first() -> None:
    with streaming([9, 5, 2, 1]) as (stream, made):
        batches = drain(stream, made)
    for batch in batches:
        ids = [t.id for t in batch]
        assert [id.rpartition("/")[2] for id in ids] == ["0", "1"] * (len(ids) // 2)


def test_a_broken_model_is_raised_to_whoever_takes() -> None:
    from dyna.rollout import BrokenDreamError

    with (
        streaming([1] * 4, model=Clock(breaks=True)) as (stream, _),
        pytest.raises(BrokenDreamError, match="the clock is broken"),
    ):
        stream.take()


def test_a_hung_model_does_not_hang_whoever_takes() -> None:
    began = time.monotonic()
    with (
        streaming([1] * 4, model=Clock(hangs=True)) as (stream, _),
        pytest.raises(StalledError, match=r"nothing has moved .* engine\.request_timeout_s"),
    ):
        stream.take()
    assert time.monotonic() - began < 5


def test_a_thread_that_hangs_in_a_step_does_not_hang_whoever_shares_weights() -> None:
    with streaming([1] * 4) as (_, made):
        made.publish_policy = lambda: time.sleep(1.5)
        with pytest.raises(StalledError, match="has not ended its step"):
            made.share_policy()


def test_what_a_push_raises_is_raised_to_who_pushed() -> None:
    def fail() -> None:
        raise ValueError("wrong shape")

    with streaming([1] * 4) as (_, made):
        made.publish_policy = fail
        with pytest.raises(ValueError, match="wrong shape"):
            made.share_policy()


def test_an_exit_in_a_policy_is_heard() -> None:
    class Leaver(Walker):
        async def act(self, context: Context) -> Action:
            raise SystemExit(3)

    with streaming([1] * 4, walker=Leaver()) as (stream, _), pytest.raises(SystemExit):
        stream.take()


def test_a_stream_may_be_closed_in_the_middle() -> None:
    with streaming([500] * 8) as (stream, made):
        time.sleep(0.05)
        stream.close()
        assert not any(t.name == "dreams" for t in threading.enumerate())
        made.share_policy()  # of here and now again
