"""The seam of worlds and envs: what a rollout, a replay and a held-out measure rely on.

`check_world` runs `WORLD_CHECKS` one by one. What a world does not offer (a list of commands, an
expert, splits that it can name, clones) is not asked of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from dyna.protocols import (
    Closeable,
    Env,
    HasCanonicalText,
    HasClone,
    HasExpert,
    HasSplits,
    World,
)
from dyna.testing.envs import Play, check_garbage, check_repeats, choices, plain
from dyna.testing.leftovers import Leftovers
from dyna.testing.outcomes import GARBAGE
from dyna.testing.requirements import is_a, must_refuse, name_of, require
from dyna.types import Action, Context, Outcome, Start, StopReason, Task, Turn

_NUM_CLONED = 5
"""Commands that a clone and the env it was taken from are both given."""
_LIMIT = 3
"""Turns of a world whose own limit is tried."""


def check_world(
    world: World,
    *,
    split: str = "train",
    num_tasks: int = 3,
    max_turns: int = 20,
    commands: Sequence[str] = (),
    step_timeout_s: float = 30.0,
) -> None:
    """Every check of `WORLD_CHECKS`, on the first tasks of a split."""
    require(is_a(world, World), f"{name_of(world)} needs `tasks` and `make`, as dyna.World")
    play = Play(
        split=split,
        num_tasks=num_tasks,
        max_turns=max_turns,
        commands=commands,
        step_timeout_s=step_timeout_s,
    )
    for check in WORLD_CHECKS.values():
        check(world, play)


def check_world_ends(make: Callable[[], World], *, split: str = "train") -> None:
    """A world that was made, played and closed leaves no process, thread or open file behind.

    `make` makes the world anew; a world that is not `Closeable` must simply leave nothing.
    """
    before = Leftovers.now()
    world = make()
    (task,) = world.tasks(split=split, num=1)

    async def visit(world: World) -> None:
        env = world.make()
        await env.reset(task)
        await env.step(Action(command="look"))
        await env.close()

    asyncio.run(visit(world))
    if isinstance(world, Closeable):
        world.close()
        world.close()
    del world
    left = Leftovers.after(before)
    require(not left, f"closing the world must end what it started; it left {left}")


def check_step_limit(make: Callable[[int], World], *, split: str = "train") -> None:
    """A world of `max_turns` turns ends an episode in which nothing happens after just as many.

    Example: `check_step_limit(lambda max_turns: MyWorld(max_turns=max_turns))`
    """
    world = make(_LIMIT)
    (task,) = world.tasks(split=split, num=1)

    async def idle() -> list[Outcome]:
        env = world.make()
        await env.reset(task)
        answers = await _say(env, commands=[GARBAGE[2]] * (_LIMIT + 1))
        await env.close()
        return answers

    answers = asyncio.run(idle())
    if isinstance(world, Closeable):
        world.close()
    over = answers[-1].terminated or (
        len(answers) == _LIMIT and answers[-1].stop is StopReason.STEP_LIMIT
    )
    require(
        over,
        f"a world with max_turns={_LIMIT} must end an idle episode STEP_LIMIT at turn {_LIMIT}; "
        f"it went on for {len(answers)} turns and said {answers[-1].stop}",
    )


def _check_tasks(world: World, play: Play) -> None:
    split, num = play.split, play.num_tasks
    tasks = list(world.tasks(split=split, num=num))
    require(
        len(tasks) == num,
        f"tasks(num={num}) must give as many tasks, or raise ValueError; got {len(tasks)}",
    )
    require(
        tasks == list(world.tasks(split=split, num=num)),
        "tasks() must give the same tasks at every call: runs and resumed runs rely on it",
    )
    ids = [task.id for task in tasks]
    require(len(set(ids)) == num, f"task ids must be unique, got {ids}")
    require(
        tasks[1:] == list(world.tasks(split=split, num=num - 1, offset=1)),
        "tasks(offset=1) must be the tasks from the second on: rounds take theirs by offset",
    )
    require(
        all(task.split == split for task in tasks),
        f"every task of split {split!r} must say so in `task.split`",
    )
    must_refuse(
        lambda: world.tasks(split="no such split", num=1),
        "tasks() must raise ValueError for a split that it does not have",
    )


def _check_splits(world: World, play: Play) -> None:
    if not isinstance(world, HasSplits):
        return
    require(play.split in world.splits, f"`splits` must name {play.split!r}, got {world.splits}")
    first_of: dict[str, Task] = {}
    for split, size in world.splits.items():
        num = play.num_tasks if size is None else min(size, play.num_tasks)
        for task in world.tasks(split=split, num=num):
            same = first_of.setdefault(world.fingerprint(task), task)
            require(
                same.split == split,
                f"tasks {same.id!r} and {task.id!r} are the same game in two splits: what is "
                "learned on one must not be measured on the other",
            )
        if size is not None:
            _check_size(world, split=split, size=size)


def _check_size(world: World, *, split: str, size: int) -> None:
    require(size >= 0, f"split {split!r} has a size of {size}")
    if size:
        (last,) = world.tasks(split=split, num=1, offset=size - 1)
        require(last.split == split, f"the last task of {split!r} says split {last.split!r}")
    must_refuse(
        lambda: world.tasks(split=split, num=1, offset=size),
        f"split {split!r} has {size} tasks; asking for one more must raise ValueError",
    )


def _check_repeatable(world: World, play: Play) -> None:
    canonical = world.canonical if isinstance(world, HasCanonicalText) else str
    for task in world.tasks(split=play.split, num=play.num_tasks):
        check_repeats(world.make, task=task, play=play, canonical=canonical)


def _check_answers_anything(world: World, play: Play) -> None:
    (task,) = world.tasks(split=play.split, num=1)
    asyncio.run(check_garbage(world.make, task=task, play=play))


def _check_apart(world: World, play: Play) -> None:
    tasks = world.tasks(split=play.split, num=play.num_tasks)
    canonical = world.canonical if isinstance(world, HasCanonicalText) else str

    async def visit() -> tuple[Start, Start]:
        envs = [world.make() for _ in tasks]
        starts = [await env.reset(task) for env, task in zip(envs, tasks, strict=True)]
        envs.append(world.make())
        again = await envs[-1].reset(tasks[0])
        for env in envs:
            await env.close()
        return starts[0], again

    first, again = asyncio.run(visit())
    require(
        plain(first, canonical) == plain(again, canonical),
        "envs of one world must not share state: a reset of one changed what another says",
    )


def _check_expert(world: World, play: Play) -> None:
    if not isinstance(world, HasExpert):
        return
    tasks = world.tasks(split=play.split, num=play.num_tasks)
    for task in tasks:
        asyncio.run(_follow_expert(world.make, task=task, expert=world.expert, play=play))


async def _follow_expert(
    make: Callable[[], Env], *, task: Task, expert: Callable[[Context], str], play: Play
) -> None:
    env = make()
    start = await env.reset(task)
    turns: list[Turn] = []
    for length in range(play.max_turns):
        context = Context(task=task, start=start, turns=turns, length=length, seed=length)
        command = expert(context)
        require(is_a(command, str), f"an expert gives a command, got {name_of(command)}")
        require(
            command == expert(context),
            "an expert must say the same of the same context: take randomness from context.seed",
        )
        outcome = await env.step(Action(command=command))
        require(
            outcome.valid is not False,
            f"the expert's command {command!r} at turn {length} of {task.id!r} was not carried "
            f"out: {outcome.observation[:80]!r}",
        )
        turns.append(Turn(action=Action(command=command), outcome=outcome))
        if outcome.stop is not None:
            break
    await env.close()


def _check_clones(world: World, play: Play) -> None:
    (task,) = world.tasks(split=play.split, num=1)
    canonical = world.canonical if isinstance(world, HasCanonicalText) else str

    async def visit() -> None:
        env = world.make()
        if not isinstance(env, HasClone):
            await env.close()
            return
        start = await env.reset(task)
        commands = choices(start, play)
        await env.step(Action(command=commands[0]))
        twin = await env.clone()
        answers = [await _say(either, commands=commands[:_NUM_CLONED]) for either in (twin, env)]
        require(
            [plain(answer, canonical) for answer in answers[0]]
            == [plain(answer, canonical) for answer in answers[1]],
            "a clone must answer as the env it was taken from, and leave that one as it was",
        )
        await twin.close()
        await env.close()

    asyncio.run(visit())


async def _say(env: Env, *, commands: Sequence[str]) -> list[Outcome]:
    """The answers to commands in a row, until the episode ends."""
    answers: list[Outcome] = []
    for command in commands:
        answers.append(await env.step(Action(command=command)))
        if answers[-1].stop is not None:
            break
    return answers


WorldCheck = Callable[[World, Play], None]
WORLD_CHECKS: Mapping[str, WorldCheck] = {
    "tasks are stable and named apart": _check_tasks,
    "no game is in two splits": _check_splits,
    "the same commands get the same answers": _check_repeatable,
    "any text gets an answer": _check_answers_anything,
    "envs share no state": _check_apart,
    "the expert's commands are understood": _check_expert,
    "a clone goes on apart": _check_clones,
}
"""What `check_world` checks, by name; each raises `AssertionError`."""

__all__ = [
    "WORLD_CHECKS",
    "WorldCheck",
    "check_step_limit",
    "check_world",
    "check_world_ends",
]
