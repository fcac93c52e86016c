"""Playing a world, and seeing whether its processes live, for the tests of all worlds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from dyna.protocols import World
from dyna.types import Action, Outcome, Start, Task


def play(world: World, task: Task, commands: Sequence[str]) -> tuple[Start, list[Outcome]]:
    """Say the commands, until the last or the end of the episode."""

    async def episode() -> tuple[Start, list[Outcome]]:
        env = world.make()
        start, outcomes = await env.reset(task), list[Outcome]()
        for command in commands:
            outcomes.append(await env.step(Action(command=command)))
            if outcomes[-1].stop is not None:
                break
        await env.close()
        return start, outcomes

    return asyncio.run(episode())


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def ends_within(pid: int, *, seconds: float) -> bool:
    """Wait for the process to end; whether it did."""
    deadline = time.monotonic() + seconds
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not is_alive(pid)
