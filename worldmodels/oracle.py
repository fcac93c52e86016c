"""A world model that is never wrong: it asks the real world.

No agent could have it; it tells how much a policy would keep if its dreams were perfect. What it
spends in the real world is no experience and not in the ledger, so a run with it is a reference
and never a result.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from dyna.protocols import Env, World
from dyna.types import Action, Context, Outcome, StopReason

_MAX_OPEN = 256
"""Conversations that are kept open; one that was closed is played again up to its turn."""


@dataclass(slots=True)
class _Open:
    env: Env
    commands: list[str]


class OracleWorldModel:
    """Answers as `world` would at this point of the episode. The world must be deterministic.

    Tasks that exist in dreams alone (`imagination.new_task_fraction`) it cannot answer: the world
    would play the task that the real start belongs to.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: OrderedDict[str, _Open] = OrderedDict()

    @property
    def version(self) -> int:
        return 0

    async def predict(self, context: Context, action: Action) -> Outcome:
        commands = [turn.action.command for turn in context.turns[: context.length]]
        key = context.episode_id or context.task.id
        found = self._open.pop(key, None)
        if found is not None and found.commands != commands:
            await found.env.close()
            found = None
        if found is None:
            found = await self._play(context, commands=commands)
        outcome = await found.env.step(action)
        found.commands.append(action.command)
        if outcome.stop is not None or outcome.terminated:
            await found.env.close()
        else:
            await self._keep(key, conversation=found)
        # Which commands are possible is never imagined, and a world's own step limit is no end.
        stop = StopReason.TERMINATED if outcome.terminated else None
        return replace(outcome, admissible=None, stop=stop)

    async def _play(self, context: Context, *, commands: list[str]) -> _Open:
        env = self._world.make()
        await env.reset(context.task)
        for command in commands:
            await env.step(Action(command=command))
        return _Open(env=env, commands=commands)

    async def _keep(self, key: str, *, conversation: _Open) -> None:
        self._open[key] = conversation
        while len(self._open) > _MAX_OPEN:
            _, oldest = self._open.popitem(last=False)
            await oldest.env.close()


__all__ = ["OracleWorldModel"]
