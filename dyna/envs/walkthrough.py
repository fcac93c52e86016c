"""An expert that knows one way to do each task, and finds back to it after a detour.

Worlds of generated games often come with one recorded solution and no planner. The expert says the
first command of the recording that the episode has not yet been through; commands of others in
between are passed over. Where a detour spoiled what the recording relies on, it fails honestly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dyna.types import Context, Task

DONE = "look around"
"""What it says when the recording is used up and the episode still goes on."""


class WalkthroughExpert:
    """Example: `WalkthroughExpert(lambda task: walkthroughs[task.id])`"""

    def __init__(
        self, walkthrough: Callable[[Task], Sequence[str]], *, when_done: str = DONE
    ) -> None:
        self._walkthrough = walkthrough
        self._when_done = when_done

    def __call__(self, context: Context) -> str:
        commands = self._walkthrough(context.task)
        said = 0
        for turn in context.turns[: context.length]:
            if said < len(commands) and turn.action.command == commands[said]:
                said += 1
        return commands[said] if said < len(commands) else self._when_done


__all__ = ["DONE", "WalkthroughExpert"]
