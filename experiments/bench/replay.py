"""`python -m experiments.bench.replay`: how fast every replay strategy is at one memory.

Rounds as a run has them: episodes come, the model's word on them comes, as many transitions are
drawn. Each strategy has a process of its own, so that what it weighs is seen from outside too.
Speeds are by CPU time: the machine may have other work.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import psutil
from rich.console import Console
from rich.progress import track

from dyna.envs.household import HouseholdWorld
from dyna.files import write_json
from dyna.plugins import BUILT_IN, resolve
from dyna.protocols import Env, HasExperiences, HasGradients, HasScores, HasTargets
from dyna.replay.buffer import TrajectoryBuffer
from dyna.types import Action, Context, SoftTargets, StopReason, Task, Trajectory, Turn
from experiments.report.sections import write_section

GOAL_PER_S = 20_000
_NUM_GAMES = 300
_MAX_TURNS = 20
_ROUND = 2_000
"""Transitions that come, and that are drawn, in each round."""
_EXPERIENCE = 100_000
"""Transitions of each experience."""
_TOKENS_PER_TURN = 15


def measure(name: str, *, num_transitions: int, max_bytes: int) -> dict[str, float]:
    """One strategy in this process."""
    games = asyncio.run(_games())
    rng = Random(0)
    buffer: TrajectoryBuffer = resolve("replay_buffers", name)(
        max_transitions=num_transitions, max_bytes=max_bytes, seed=0
    )
    notes = _Notes(buffer, games=games, rng=rng)
    before = _resident()
    inserted = sampled = 0
    insert_s = sample_s = 0.0
    peak = 0
    while inserted < num_transitions:
        fresh: list[tuple[int, Trajectory]] = []
        num_fresh = 0
        while num_fresh < _ROUND:
            index = rng.randrange(len(games))
            fresh.append((index, replace(games[index], id=f"real/{inserted + num_fresh}")))
            num_fresh += len(games[index].turns)
        if isinstance(buffer, HasExperiences) and inserted % _EXPERIENCE < _ROUND:
            buffer.begin_experience(str(inserted // _EXPERIENCE))
        begin = time.process_time()
        for _, trajectory in fresh:
            buffer.add(trajectory)
        notes.tell(fresh)
        insert_s += time.process_time() - begin
        inserted += num_fresh
        peak = max(peak, buffer.num_bytes)
        begin = time.process_time()
        drawn = buffer.sample(_ROUND)
        sample_s += time.process_time() - begin
        sampled += sum(len(trajectory.turns) for trajectory in drawn)
    del drawn, fresh
    gc.collect()
    return {
        "inserted": inserted,
        "inserts_per_s": inserted / insert_s,
        "sampled": sampled,
        "samples_per_s": sampled / sample_s,
        "held": len(buffer),
        "max_bytes": max_bytes,
        "peak_bytes": peak,
        "resident_bytes": _resident() - before,
    }


class _Notes:
    """What the learner tells a buffer after a round: random, of the right size."""

    def __init__(self, buffer: Any, *, games: Sequence[Trajectory], rng: Random) -> None:
        self._buffer = buffer
        self._rng = rng
        self._targets: list[SoftTargets] = []
        self._sketches: list[list[float]] = []
        if isinstance(buffer, HasTargets):
            self._targets = [_targets(len(g.turns), top_k=buffer.top_k, rng=rng) for g in games]
        if isinstance(buffer, HasGradients):
            self._sketches = [
                [rng.gauss(0.0, 1.0) for _ in range(buffer.sketch_size)] for _ in games
            ]

    def tell(self, fresh: Sequence[tuple[int, Trajectory]]) -> None:
        if isinstance(self._buffer, HasScores):
            self._buffer.note_scores({t.id: self._rng.expovariate(1.0) for _, t in fresh})
        if isinstance(self._buffer, HasGradients):
            self._buffer.note_gradients({t.id: self._sketches[index] for index, t in fresh})
        if isinstance(self._buffer, HasTargets):
            self._buffer.note_targets({t.id: self._targets[index] for index, t in fresh})


def _targets(num_turns: int, *, top_k: int, rng: Random) -> SoftTargets:
    num = num_turns * _TOKENS_PER_TURN * top_k
    return SoftTargets(
        top_k=top_k,
        token_ids=tuple(rng.randrange(150_000) for _ in range(num)),
        log_probs=tuple(math.log(rng.uniform(0.001, 0.1)) for _ in range(num)),
    )


async def _games() -> list[Trajectory]:
    """Households played by the expert, with three in ten commands said at random."""
    world = HouseholdWorld()
    tasks = world.tasks(split="train", num=_NUM_GAMES)
    rng = Random(1)
    return [await _play(world.make(), task=task, world=world, rng=rng) for task in tasks]


async def _play(env: Env, *, task: Task, world: HouseholdWorld, rng: Random) -> Trajectory:
    start = await env.reset(task)
    turns: list[Turn] = []
    while len(turns) < _MAX_TURNS and not (turns and turns[-1].outcome.stop):
        context = Context(task=task, start=start, turns=turns, length=len(turns))
        said = (world.explorer if rng.random() < 0.3 else world.expert)(context)
        tokens = tuple(rng.randrange(150_000) for _ in range(6))
        action = Action(
            command=said, token_ids=tokens, log_probs=tuple(-rng.random() for _ in tokens)
        )
        turns.append(Turn(action=action, outcome=await env.step(action)))
    return Trajectory(
        id=task.id, task=task, start=start, turns=tuple(turns), stop=StopReason.STEP_LIMIT
    )


def _resident() -> int:
    return psutil.Process().memory_info().rss


def _measure_apart(name: str, *, num_transitions: int, max_bytes: int) -> dict[str, float]:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "experiments.bench.replay",
            f"--only={name}",
            f"--transitions={num_transitions}",
            f"--max-bytes={max_bytes}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(run.stdout)


def table(strategies: dict[str, dict[str, float]]) -> str:
    lines = [
        "| strategy | inserted /s | drawn /s | transitions held | bytes counted, at most "
        "| of the limit | resident |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, found in strategies.items():
        lines.append(
            f"| `{name}` | {found['inserts_per_s']:,.0f} | {found['samples_per_s']:,.0f} "
            f"| {found['held']:,.0f} | {found['peak_bytes'] / 2**20:.1f} MiB "
            f"| {found['peak_bytes'] / found['max_bytes']:.1%} "
            f"| {found['resident_bytes'] / 2**20:.1f} MiB |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transitions", type=int, default=1_000_000, help="put in and drawn")
    parser.add_argument("--max-bytes", type=int, default=64 * 2**20, help="of each buffer")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="where results are written")
    parser.add_argument("--only", default="", help="one strategy, as JSON on the screen")
    given = parser.parse_args(arguments)
    room = {"num_transitions": given.transitions, "max_bytes": given.max_bytes}
    if given.only:
        sys.stdout.write(json.dumps(measure(given.only, **room)))
        return
    names = list(BUILT_IN["replay_buffers"])
    console = Console(stderr=True)
    found = {
        name: _measure_apart(name, **room)
        for name in track(names, description="strategies", console=console)
    }
    document = {
        "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
        "goal_per_s": GOAL_PER_S,
        "strategies": found,
    }
    (given.docs / "results").mkdir(parents=True, exist_ok=True)
    write_json(given.docs / "results" / "bench_replay.json", value=document)
    write_section(given.docs / "benchmarks.md", name="bench-replay", text=table(found))


if __name__ == "__main__":
    main()
