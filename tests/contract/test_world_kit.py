"""The kit finds the faults that it is there to find, and passes a world that has none."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from dyna.envs.corridor import CorridorWorld
from dyna.envs.household import HouseholdWorld
from dyna.testing import (
    WORLD_CHECKS,
    Play,
    check_step_limit,
    check_world,
    check_world_ends,
)
from dyna.types import Action, Context, Outcome, Start, StopReason, Task


class Counter:
    """Counts to three; `limit` tasks in each split."""

    limit = 4

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        if split not in self.splits or offset + num > self.limit:
            raise ValueError(f"no {num} tasks from {offset} on in split {split!r}")
        numbers = range(offset, offset + num)
        return [
            Task(id=f"count/{split}/{i}", world="count", family="count", split=split, seed=i)
            for i in numbers
        ]

    @property
    def splits(self) -> Mapping[str, int | None]:
        return {"train": self.limit, "test": self.limit}

    def fingerprint(self, task: Task) -> str:
        return f"{task.split} {task.seed}"

    @property
    def expert(self) -> Callable[[Context], str]:
        return lambda context: "count"

    def make(self) -> CounterEnv:
        return CounterEnv()


class CounterEnv:
    def __init__(self) -> None:
        self.count = 0

    async def reset(self, task: Task) -> Start:
        self.count = 0
        return Start(observation=f"Count on from {task.seed}.", admissible=("count", "wait"))

    async def step(self, action: Action) -> Outcome:
        if action.command not in ("count", "wait"):
            return Outcome(observation="What?", valid=False, admissible=("count", "wait"))
        self.count += action.command == "count"
        won = self.count == 3
        return Outcome(
            observation=str(self.count),
            reward=float(won),
            terminated=won,
            success=won,
            stop=StopReason.TERMINATED if won else None,
            valid=True,
            admissible=("count", "wait"),
        )

    async def clone(self) -> CounterEnv:
        twin = type(self)()
        twin.count = self.count
        return twin

    async def close(self) -> None:
        return


def world_of(env: type[CounterEnv]) -> Counter:
    class World(Counter):
        def make(self) -> CounterEnv:
            return env()

    return World()


def test_a_sound_world_passes_every_check() -> None:
    check_world(Counter())
    check_world_ends(Counter)


def test_a_game_in_two_splits_is_found() -> None:
    class Leaky(Counter):
        def fingerprint(self, task: Task) -> str:
            return str(task.seed)

    with pytest.raises(AssertionError, match=r"'count/train/0' and 'count/test/0' are the same"):
        check_world(Leaky())


@pytest.mark.parametrize("size", [3, 5])
def test_a_split_of_another_size_than_it_says_is_found(size: int) -> None:
    class Miscounted(Counter):
        @property
        def splits(self) -> Mapping[str, int | None]:
            return {"train": size}

    with pytest.raises((AssertionError, ValueError), match=r"asking for one more|no 1 tasks"):
        check_world(Miscounted())


def test_an_env_that_remembers_earlier_episodes_is_found() -> None:
    class Forgetless(CounterEnv):
        visits = 0

        async def reset(self, task: Task) -> Start:
            Forgetless.visits += 1
            start = await super().reset(task)
            return replace(start, observation=f"Visit {Forgetless.visits}.")

    with pytest.raises(AssertionError, match="the same task and commands must give the same"):
        check_world(world_of(Forgetless))


def test_a_clone_that_shares_its_count_is_found() -> None:
    class Entangled(CounterEnv):
        async def clone(self) -> CounterEnv:
            return self

    with pytest.raises(AssertionError, match="a clone must answer as the env it was taken from"):
        check_world(world_of(Entangled))


def test_an_expert_that_is_not_understood_is_found() -> None:
    class Lost(Counter):
        @property
        def expert(self) -> Callable[[Context], str]:
            return lambda context: "conjure"

    with pytest.raises(AssertionError, match=r"'conjure' at turn 0 .* was not carried out"):
        check_world(Lost())


def test_a_step_over_its_time_is_found() -> None:
    class Slow(CounterEnv):
        async def step(self, action: Action) -> Outcome:
            time.sleep(0.05)
            return await super().step(action)

    with pytest.raises(AssertionError, match=r"a step took 0\.\d s, more than the 0.01 s"):
        check_world(world_of(Slow), step_timeout_s=0.01)


def test_a_command_that_breaks_the_world_is_found() -> None:
    class Brittle(CounterEnv):
        async def step(self, action: Action) -> Outcome:
            action.command.encode()  # half a surrogate pair has no encoding
            return await super().step(action)

    with pytest.raises(AssertionError, match="step must answer any command"):
        WORLD_CHECKS["any text gets an answer"](world_of(Brittle), Play())


def test_a_process_that_is_left_behind_is_found() -> None:
    left: list[subprocess.Popen[bytes]] = []

    class Littering(Counter):
        def __init__(self) -> None:
            left.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))

    with pytest.raises(AssertionError, match=r"child processes: \[\d+\]"):
        check_world_ends(Littering)
    left[0].kill()
    left[0].wait()


def test_a_step_limit_that_is_not_kept_is_found() -> None:
    check_step_limit(lambda max_turns: HouseholdWorld(max_turns=max_turns))
    check_step_limit(lambda max_turns: CorridorWorld(max_turns=max_turns))
    with pytest.raises(AssertionError, match="went on for 4 turns and said None"):
        check_step_limit(lambda max_turns: Counter())
    with pytest.raises(AssertionError, match="went on for 2 turns and said step_limit"):
        check_step_limit(lambda max_turns: HouseholdWorld(max_turns=max_turns - 1))
