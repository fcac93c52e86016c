"""`python -m experiments.bench.worlds [WORLD ...]`: what a reset and a step of each world cost.

Every world is measured in a process of its own, as its shipped config sets it up: a few episodes
of its expert are recorded and then played again and again, the world alone on the clock. Seconds
are of the processor, those of child processes such as a JVM included, so that what else the machine
does is no part of them. Worlds whose packages or data are not here are listed as such.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from dyna.config import PluginConfig
from dyna.configuring import load
from dyna.files import write_json
from dyna.plugins import build
from dyna.protocols import Closeable, HasExpert, World
from dyna.types import Action, Context, Task, Turn
from experiments.cli import find_config, shipped_configs
from experiments.report.sections import write_section

SECONDS = 6.0
"""Seconds that a measurement lasts, about, after the recording."""
_NUM_RECORDED = 12
_RECORDING_S = 60.0
"""After this long the recording ends, however few episodes it has."""
_MAX_TURNS = 50
_TIMEOUT_S = 600.0
_ALONE = {"corridor": {}, "toolbench_mirror": {}, "textworld_express": {}}
"""Worlds with no config of their own, and the params they are measured with."""
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "alfworld_official": ("alfworld", {"engine": "official"}),
    "scienceworld_listing": ("scienceworld", {"admissible": "all"}),
}
"""Other ways to run a world: which one, and what differs; it follows by its side."""


def settings(changes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Params by world: those of the shipped configs, changed by `WORLD.param=value`."""
    found: dict[str, dict[str, Any]] = {name: dict(params) for name, params in _ALONE.items()}
    for name in shipped_configs():
        world = load(find_config(name)).world
        if world.name == name:  # other configs are of the same worlds, for other models
            found[name] = dict(world.params)
    for change in changes:
        key, _, value = change.partition("=")
        name, _, parameter = key.partition(".")
        if name not in found or not parameter:
            raise ValueError(f"change must read WORLD.param=value, got {change!r}")
        found[name][parameter] = _value(value)
    for name, (world, params) in _VARIANTS.items():
        found[name] = {**found[world], **params}
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def measure(name: str, *, params: dict[str, Any], seconds: float = SECONDS) -> dict[str, Any]:
    """Costs of one world, in this process. Raises what making or playing it raises."""
    began = time.perf_counter()
    alias = _VARIANTS[name][0] if name in _VARIANTS else name
    world: World = build("environments", PluginConfig(name=alias, params=params))
    try:
        tasks = _tasks(world)
        recorded = [asyncio.run(_record(world, task=tasks[0]))]
        first = {"first_episode_s": time.perf_counter() - began}
        for task in tasks[1:]:
            if time.perf_counter() - began > _RECORDING_S:
                break
            recorded.append(asyncio.run(_record(world, task=task)))
        played = asyncio.run(_replay(world, recorded=recorded, seconds=seconds))
        return {**first, **played, "children": len(_family()) - 1}
    finally:
        if isinstance(world, Closeable):
            world.close()


def _tasks(world: World) -> list[Task]:
    for num in (_NUM_RECORDED, 1):
        try:
            return list(world.tasks(split="train", num=num))
        except ValueError:
            if num == 1:
                raise
    raise AssertionError("unreachable")


async def _record(world: World, *, task: Task) -> tuple[Task, list[str]]:
    """The commands of one episode: the expert's, or else the first one that is listed."""
    env = world.make()
    try:
        start = await env.reset(task)
        turns: list[Turn] = []
        while len(turns) < _MAX_TURNS:
            context = Context(task=task, start=start, turns=turns, length=len(turns))
            listed = context.admissible or ("look",)
            command = world.expert(context) if isinstance(world, HasExpert) else listed[0]
            outcome = await env.step(Action(command=command))
            turns.append(Turn(action=Action(command=command), outcome=outcome))
            if outcome.stop or outcome.terminated:
                break
        return task, [turn.action.command for turn in turns]
    finally:
        await env.close()


async def _replay(
    world: World, *, recorded: Sequence[tuple[Task, list[str]]], seconds: float
) -> dict[str, Any]:
    """Play the recorded episodes round and round; sums of processor and wall seconds."""
    spent = {"reset": [0.0, 0.0], "step": [0.0, 0.0]}
    steps = episodes = 0
    before, began = resident_bytes(), time.perf_counter()
    # To look for children takes longer than many a step: they are looked for once.
    children = _family()[1:]
    while time.perf_counter() - began < seconds or episodes < len(recorded):
        task, commands = recorded[episodes % len(recorded)]
        actions = [Action(command=command) for command in commands]
        env = world.make()
        marks = [_mark(children)]
        await env.reset(task)
        marks.append(_mark(children))
        for action in actions:
            outcome = await env.step(action)
            steps += 1
            if outcome.stop or outcome.terminated:
                break
        marks.append(_mark(children))
        await env.close()
        for phase, (old, new) in zip(spent, pairwise(marks), strict=True):
            spent[phase][0] += new[0] - old[0]
            spent[phase][1] += new[1] - old[1]
        episodes += 1
    return {
        "episodes": episodes,
        "steps": steps,
        "steps_per_s": steps / spent["step"][0],
        "steps_per_cpu_s": steps / max(spent["step"][1], 1e-9),
        "reset_ms": 1e3 * spent["reset"][0] / episodes,
        "reset_cpu_ms": 1e3 * spent["reset"][1] / episodes,
        "resident_mib": resident_bytes() / 2**20,
        "grown_mib": (resident_bytes() - before) / 2**20,
    }


def _family() -> list[psutil.Process]:
    own = psutil.Process()
    return [own, *own.children(recursive=True)]


def _mark(children: Sequence[psutil.Process]) -> tuple[float, float]:
    return time.perf_counter(), cpu_seconds(children)


def cpu_seconds(children: Sequence[psutil.Process]) -> float:
    """Processor seconds of this process and of these living children."""
    total = time.process_time()
    for child in children:
        times = child.cpu_times()
        total += times.user + times.system
    return total


def resident_bytes() -> int:
    """Resident memory of this process and its children; shared pages count in each."""
    return sum(member.memory_info().rss for member in _family())


def bench(name: str, *, params: dict[str, Any]) -> dict[str, Any]:
    """`measure` in a process of its own; with `missing` instead of figures where it cannot be."""
    command = [sys.executable, "-m", "experiments.bench.worlds", "--measure", name]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(params),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired:
        return {"missing": f"took longer than {_TIMEOUT_S:.0f} s"}
    if done.returncode:
        told = done.stderr.strip().splitlines()
        return {"missing": told[-1] if told else f"ended with {done.returncode}"}
    return json.loads(done.stdout.strip().splitlines()[-1])


def to_markdown(result: dict[str, Any]) -> str:
    """The table, and the worlds that could not be measured here."""
    rows = [
        "| world | steps/s of a core | reset, ms of a core | steps/s | first episode, s | memory, "
        "MiB | processes |",
        "|---|---|---|---|---|---|---|",
    ]
    absent: list[str] = []
    for name, found in result["worlds"].items():
        if "missing" in found:
            absent.append(f"`{name}` was not measured: {found['missing']}")
            continue
        rows.append(
            f"| {name} | {found['steps_per_cpu_s']:,.0f} | {found['reset_cpu_ms']:.3g} "
            f"| {found['steps_per_s']:,.0f} | {found['first_episode_s']:.3g} "
            f"| {found['resident_mib']:,.0f} | {1 + found['children']} |"
        )
    ratios = [
        f"A step of `{name}` takes {ratio:,.1f} times the processor time of one of `{world}`."
        for name, (world, _) in _VARIANTS.items()
        if (ratio := _ratio(result["worlds"], slow=name, fast=world))
    ]
    machine = result["machine"]
    note = (
        f"Machine: {machine['cores']} cores ({machine['processor']}), Python {machine['python']}. "
        "Memory is that of all its processes at the end, Python's own included. The first episode "
        "includes making the world, with what its cache already held."
    )
    return "\n".join([*rows, "", note, *ratios, *(f"\n{line}" for line in absent)])


def _ratio(worlds: dict[str, Any], *, slow: str, fast: str) -> float | None:
    """How many times as long a step of `slow` takes; None where one was not measured."""
    speeds = [worlds.get(name, {}).get("steps_per_cpu_s") for name in (slow, fast)]
    return speeds[1] / speeds[0] if all(speeds) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORLD | WORLD.param=value")
    parser.add_argument("--measure", metavar="WORLD", help=argparse.SUPPRESS)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_intermixed_args()
    if arguments.measure:
        found = measure(arguments.measure, params=json.load(sys.stdin))
        sys.stdout.write(json.dumps(found) + "\n")
        return
    by_world = settings([word for word in arguments.words if "=" in word])
    chosen = [word for word in arguments.words if "=" not in word] or list(by_world)
    console = Console(soft_wrap=True)
    path = arguments.docs / "results" / "bench_worlds.json"
    # Worlds that are not asked for keep what an earlier call found.
    worlds = json.loads(path.read_text(encoding="utf-8"))["worlds"] if path.exists() else {}
    for name in chosen:
        console.print(f"measuring: {name}")
        worlds[name] = bench(name, params=by_world[name])
    machine = {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value={"machine": machine, "worlds": dict(sorted(worlds.items()))})
    page = to_markdown({"machine": machine, "worlds": dict(sorted(worlds.items()))})
    write_section(arguments.docs / "worlds.md", name="worlds-bench", text=page)
    console.print(page)


if __name__ == "__main__":
    main()
