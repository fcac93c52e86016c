"""The seam of envs: they answer anything, in time, and the same commands with the same words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dyna.protocols import Env
from dyna.seeding import generator
from dyna.testing.outcomes import GARBAGE, check_outcome, check_start
from dyna.testing.requirements import is_a, name_of, require
from dyna.types import Action, Outcome, Start, Task

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """How a world is tried."""

    split: str = "train"
    num_tasks: int = 3
    max_turns: int = 20
    commands: Sequence[str] = ()
    """Tried beside those that the world lists."""
    step_timeout_s: float = 30.0
    """Longest time that one reset or step may take."""
    deterministic: bool = True
    """False for worlds that honestly differ from one visit to the next."""


Canonical = Callable[[str], str]
Seen = Start | Outcome
_Seen = TypeVar("_Seen", Start, Outcome, Start | Outcome)


def check_env(
    make: Callable[[], Env],
    *,
    task: Task,
    commands: Sequence[str] = (),
    max_turns: int = 20,
    deterministic: bool = True,
) -> None:
    """An env answers anything, keeps `terminated` and `stop` in step, and repeats itself.

    Commands are drawn from those the env lists, and from `commands`.
    """
    play = Play(max_turns=max_turns, commands=commands, deterministic=deterministic)
    check_repeats(make, task=task, play=play, canonical=str)
    asyncio.run(check_garbage(make, task=task, play=play))


def check_repeats(make: Callable[[], Env], *, task: Task, play: Play, canonical: Canonical) -> None:
    async def walk(replayed: Sequence[str] | None) -> tuple[list[Seen], list[str]]:
        env = make()
        require(is_a(env, Env), f"{name_of(env)} needs async `reset`, `step` and `close`")
        try:
            return await _walk(env, task=task, play=play, replayed=replayed)
        finally:
            await env.close()
            await env.close()

    first, commands = asyncio.run(walk(None))
    second, _ = asyncio.run(walk(commands))
    if play.deterministic:
        require(
            [plain(seen, canonical) for seen in first]
            == [plain(seen, canonical) for seen in second],
            f"the same task and commands must give the same answers, in {task.id!r}; take all "
            "randomness from `task.seed`",
        )


async def _walk(
    env: Env, *, task: Task, play: Play, replayed: Sequence[str] | None
) -> tuple[list[Seen], list[str]]:
    """Play at random, or the given commands; what was seen, and what was said."""
    start = await _timed(env.reset(task), play=play, doing="reset")
    check_start(start)
    rng = generator(task.seed, "contract")
    seen: list[Seen] = [start]
    said: list[str] = []
    for turn in range(play.max_turns if replayed is None else len(replayed)):
        known = choices(seen[-1], play)
        command = known[int(rng.integers(len(known)))] if replayed is None else replayed[turn]
        outcome = await _timed(env.step(Action(command=command)), play=play, doing="step")
        check_outcome(outcome)
        said.append(command)
        seen.append(outcome)
        if outcome.stop is not None:
            break
    check_start(await env.reset(task))
    return seen, said


async def _timed(call: Awaitable[_T], *, play: Play, doing: str) -> _T:
    began = time.monotonic()
    answer = await call
    took = time.monotonic() - began
    require(
        took <= play.step_timeout_s,
        f"a {doing} took {took:.1f} s, more than the {play.step_timeout_s:g} s of its limit",
    )
    return answer


async def check_garbage(make: Callable[[], Env], *, task: Task, play: Play) -> None:
    env = make()
    for command in GARBAGE:
        await env.reset(task)
        try:
            outcome = await _timed(env.step(Action(command=command)), play=play, doing="step")
        except Exception as error:
            raise AssertionError(
                f"step must answer any command, but {command[:30]!r} raised {error!r}; say that "
                "nothing happens, with valid=False"
            ) from error
        check_outcome(outcome)
        require(not outcome.success, f"the command {command[:30]!r} must not win the task")
    await env.close()


def choices(seen: Seen, play: Play) -> list[str]:
    return [*(seen.admissible or ()), *play.commands] or ["look"]


def plain(seen: _Seen, canonical: Canonical) -> _Seen:
    """What must be the same at every visit."""
    commands = seen.admissible
    same = replace(
        seen,
        observation=canonical(seen.observation),
        admissible=None if commands is None else tuple(sorted(map(canonical, commands))),
    )
    if isinstance(same, Start) and same.hidden_state is not None:
        same = replace(same, hidden_state=canonical(same.hidden_state))
    return same


__all__ = ["Canonical", "Play", "check_env", "check_garbage", "check_repeats", "choices", "plain"]
