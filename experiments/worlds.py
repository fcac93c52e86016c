"""Worlds on the command line: what each of them needs, and a game in the terminal."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dyna.config import WorldConfig
from dyna.configuring import load_tree
from dyna.envs.catalog import WORLDS, WorldInfo, find
from dyna.envs.extras import install_command, missing
from dyna.plugins import build, check_name, list_plugins
from dyna.protocols import Closeable, HasExpert, World
from dyna.types import Action, Context, Outcome, Task, Turn
from experiments.usage import UsageError

LIST, HINT, QUIT = "?", "!", "quit"
OUR_LICENCE = "Apache-2.0"
HELP = f"({LIST} lists the commands, {HINT} asks the expert, {QUIT} ends)"


def worlds_table() -> Table:
    """Every world that has a name here, and whether it can be made on this machine."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("world", "ready", "hidden state", "expert", "what it is"):
        table.add_column(column, no_wrap=True)
    for info in WORLDS:
        hidden, expert = ("yes" if has else "-" for has in (info.hidden_state, info.expert))
        table.add_row(info.name, escape(readiness(info)), hidden, expert, info.summary)
    for plugin in list_plugins():
        if plugin.kind == "environments" and find(plugin.name) is None:
            table.add_row(plugin.name, "?", "?", "?", f"published by {plugin.origin}")
    return table


def notes_on_worlds() -> list[str]:
    """A line for each world that takes data, or whose code has other terms than ours."""
    notes: list[str] = []
    for info in WORLDS:
        said: list[str] = []
        if info.data:
            said.append(f"data={'' if info.data_required else '(optional) '}{info.data}")
        if info.licence != OUR_LICENCE:
            said.append(f"licence {info.licence}")
        if said:
            notes.append(f"{info.name}: {'; '.join(said)}")
    return notes


def readiness(info: WorldInfo) -> str:
    """`yes`, or what is missing: the command that installs it, or the user's own data."""
    if info.extra and missing(info.extra):
        return install_command(info.extra)
    if info.java and shutil.which("java") is None:
        return "no: install Java 8 or newer"
    return "with data=PATH" if info.data_required else "yes"


def world_config(name: str, *, settings: Sequence[str]) -> WorldConfig:
    """The config of a world from `key=value` parameters.

    Raises `PluginError` for an unknown name and `ConfigError` for what is no `key=value`.
    """
    check_name("environments", name)
    for text in settings:
        if "=" not in text:
            raise UsageError(f"a parameter of a world reads key=value, got {text!r}")
    config = load_tree(WorldConfig, overrides=[f"params.{text}" for text in settings])
    return replace(config, name=name)


@contextmanager
def opened_world(config: WorldConfig) -> Iterator[World]:
    """The world, closed at the end. Raises `UsageError` for parameters that it refuses."""
    try:
        world: World = build("environments", config)
    except (TypeError, ValueError, OSError) as error:
        raise as_mistake(error) from error
    try:
        yield world
    finally:
        if isinstance(world, Closeable):
            world.close()


def as_mistake(error: Exception) -> Exception:
    """What a world refuses is a mistake of the command line, unless it says so itself."""
    return UsageError(str(error)) if type(error) in (TypeError, ValueError) else error


def play(world: World, *, split: str, index: int, console: Console) -> bool:
    """One task, played by whoever types; returns whether it was won. Input that ends, quits."""
    try:
        (task,) = world.tasks(split=split, num=1, offset=index)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return asyncio.run(_play(world, task=task, console=console))


async def _play(world: World, *, task: Task, console: Console) -> bool:
    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    env = world.make()
    try:
        start = await env.reset(task)
        tell(f"{task.id} {HELP}\n\n{start.observation}")
        turns: list[Turn] = []
        while not turns or turns[-1].outcome.stop is None:
            context = Context(task=task, start=start, turns=turns, length=len(turns))
            command = _ask(context, world=world, tell=tell)
            if command is None:
                tell("\nleft before the end")
                break
            action = Action(command=command)
            turns.append(Turn(action=action, outcome=await env.step(action)))
            tell(f"\n{_told(turns[-1].outcome)}")
    finally:
        await env.close()
    won = bool(turns) and turns[-1].outcome.success
    total = sum(turn.outcome.reward for turn in turns)
    tell(f"{'won' if won else 'not won'} after {len(turns)} turns, return {total:g}")
    return won


def _ask(context: Context, *, world: World, tell: Callable[[str], None]) -> str | None:
    """The next command; None when there is no more input. Questions are answered on the way."""
    while True:
        sys.stdout.write("\n> ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        command = line.strip()
        if not line or command == QUIT:
            return None
        if command == LIST:
            listed = context.admissible
            tell("this world lists no commands" if listed is None else "\n".join(listed))
        elif command == HINT:
            tell(_hint(context, world=world))
        else:
            return command


def _hint(context: Context, *, world: World) -> str:
    if not isinstance(world, HasExpert):
        return "this world has no expert"
    try:
        return world.expert(context)
    except ValueError as error:  # an expert may know no way on from here
        return f"the expert does not know: {error}"


def _told(outcome: Outcome) -> str:
    notes: list[str] = []
    if outcome.valid is False:
        notes.append("not carried out")
    if outcome.reward:
        notes.append(f"reward {outcome.reward:g}")
    if outcome.stop is not None:
        notes.append(f"the episode ends: {outcome.stop.value}")
    return outcome.observation + (f"\n[{'; '.join(notes)}]" if notes else "")


__all__ = [
    "as_mistake",
    "notes_on_worlds",
    "opened_world",
    "play",
    "readiness",
    "world_config",
    "worlds_table",
]
