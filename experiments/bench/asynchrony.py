"""What it is worth to imagine while the policy learns: `python -m experiments.bench.asynchrony`.

The same dreams, engine and learner in lock step and asynchronously, in turns, in one process. The
engine answers after a fixed time, as many conversations at once as it may hold, so that few cores
do not hide the shape; the learner keeps a core busy for a fixed time. Lengths are those of a world
like ALFWorld: most tasks take 5 to 12 turns, one in eight 25 to 50.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console

from dyna.config import ImaginationConfig, RealConfig, WorldConfig
from dyna.crew import LocalCrew
from dyna.engines.scripted import ScriptedEngine
from dyna.ledger import Ledger
from dyna.loop import DynaLoop
from dyna.protocols import GenerationRequest, ReplayBuffer
from dyna.replay import FifoBuffer
from dyna.seeding import generator
from dyna.stream import Experience, Stream
from dyna.types import (
    Action,
    Context,
    Metrics,
    Outcome,
    Source,
    Start,
    Task,
    Trajectory,
    TrajectoryGroup,
)

LATENCY_S = 0.01
"""Of one answer; a turn takes two, the policy's and the world model's."""
LESSON_S = 0.5
"""Of one update of the policy: as long as 25 turns."""
SHORT, LONG = (5, 12), (25, 50)
"""Turns of a dream, at least and at most."""
SHARE_LONG = 1 / 8
GROUP_SIZE = 4
GROUPS_PER_UPDATE = 16
MAX_CONCURRENT = GROUP_SIZE * GROUPS_PER_UPDATE
"""Conversations that the engine holds: a whole batch, so that lock step fills it too."""


class _Clock:
    """A world in which a task takes as many turns as it takes, and the model of that world."""

    version = 0

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        numbers = range(offset, offset + num)
        return [
            Task(id=f"clock/{split}/{n}", world="clock", family="clock", split=split, seed=n)
            for n in numbers
        ]

    def make(self) -> _Moment:
        return _Moment()

    async def predict(self, context: Context, action: Action) -> Outcome:
        await self._engine.generate(_request("model", context=context))
        is_over = context.length + 1 >= num_turns(context.task, episode_id=context.episode_id)
        return Outcome(observation="Tick.", terminated=is_over)


class _Moment:
    """The real world, over at once: it is not what is measured."""

    async def reset(self, task: Task) -> Start:
        return Start(observation="Go.", admissible=("go on",))

    async def step(self, action: Action) -> Outcome:
        return Outcome(observation="Over.", terminated=True)

    async def close(self) -> None:
        return


class _Speaker:
    """A policy that says what its engine says."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.version = 0
        self.engine = engine

    async def act(self, context: Context) -> Action:
        completion = await self.engine.generate(_request("policy", context=context))
        return Action(
            command="go on",
            token_ids=completion.token_ids,
            log_probs=completion.log_probs,
            policy_version=completion.weights_version,
        )


class _Learner:
    """Keeps a core busy for a fixed time at every update, as an optimizer does."""

    def __init__(self, *, lesson_s: float) -> None:
        self.version = 0
        self.num_steps = 0
        """Imagined ones that it learned from."""
        self._lesson_s = lesson_s
        self._matrix = torch.randn(384, 384)

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        return {}

    def update(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        dreams = [t for g in groups for t in g.trajectories if t.source is Source.IMAGINED]
        if not dreams:
            return {}
        until = time.perf_counter() + self._lesson_s
        while time.perf_counter() < until:
            torch.mm(self._matrix, self._matrix)
        self.num_steps += sum(len(t.new_turns) for t in dreams)
        self.version += 1
        return {}


class _Unlearned:
    """A world model's learner that has nothing to learn, and an evaluator that measures nothing."""

    def update(self, fresh: Sequence[Trajectory], replay: ReplayBuffer) -> Metrics:
        return {}

    def evaluate(self, round: int) -> Metrics:
        return {}


def num_turns(task: Task, *, episode_id: str) -> int:
    """How long a dream takes: some tasks are long, and no two dreams of one are alike."""
    is_long = generator(task.seed, "is long").random() < SHARE_LONG
    low, high = LONG if is_long else SHORT
    return int(generator(task.seed, "turns", episode_id).integers(low, high + 1))


def bench_async_vs_lockstep(
    *, caps: Sequence[int] = (1, 2, 4), num_updates: int = 8, num_pairs: int = 3, seed: int = 0
) -> dict[str, Any]:
    """Imagined steps learned from per second, asynchronously over in lock step.

    `async_vs_lockstep` is that of the last of `caps`, the largest staleness allowed; `by_cap` has
    them all. Each is the median of `num_pairs` pairs of rounds of `num_updates` batches, the same
    dreams in both; what was dropped as too old was not learned from and does not count.
    """
    rounds: dict[int, list[dict[str, float]]] = {cap: [] for cap in (0, *caps)}
    for pair in range(num_pairs):
        for cap, measured in rounds.items():
            measured.append(
                measure_round(max_staleness=cap, num_updates=num_updates, seed=seed + pair)
            )
    lockstep = rounds.pop(0)
    by_cap = {str(cap): _compare(found, lockstep=lockstep) for cap, found in rounds.items()}
    return {
        "async_vs_lockstep": by_cap[str(caps[-1])]["ratio"],
        "by_cap": by_cap,
        "lockstep_steps_per_s": statistics.median(r["steps_per_s"] for r in lockstep),
        "groups": num_pairs * num_updates * GROUPS_PER_UPDATE,
        "groups_per_update": GROUPS_PER_UPDATE,
        "group_size": GROUP_SIZE,
        "latency_s": LATENCY_S,
        "lesson_s": LESSON_S,
        "max_concurrent": MAX_CONCURRENT,
        "seed": seed,
    }


def _compare(
    found: Sequence[dict[str, float]], *, lockstep: Sequence[dict[str, float]]
) -> dict[str, float]:
    ratios = [b["steps_per_s"] / a["steps_per_s"] for a, b in zip(lockstep, found, strict=True)]
    return {
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "steps_per_s": statistics.median(r["steps_per_s"] for r in found),
        "share_of_steps_learned": sum(r["steps"] for r in found)
        / sum(r["steps"] for r in lockstep),
        "dropped_groups": sum(r["dropped_groups"] for r in found),
        "staleness": statistics.mean(r["staleness"] for r in found),
    }


def measure_round(*, max_staleness: int, num_updates: int, seed: int = 0) -> dict[str, float]:
    """One round of nothing but imagination, through the loop itself."""
    learner = _Learner(lesson_s=LESSON_S)
    loop = _make_loop(
        learner, max_staleness=max_staleness, num_groups=num_updates * GROUPS_PER_UPDATE, seed=seed
    )
    loop.begin()
    began = time.perf_counter()
    metrics = loop.play_round(1)
    wall = time.perf_counter() - began
    return {
        "steps_per_s": learner.num_steps / wall,
        "steps": float(learner.num_steps),
        "wall_s": wall,
        "dropped_groups": metrics.get("imagined/dropped_stale_groups", 0.0),
        "staleness": metrics.get("imagined/staleness", 0.0),
    }


def _make_loop(learner: _Learner, *, max_staleness: int, num_groups: int, seed: int) -> DynaLoop:
    engine = ScriptedEngine(lambda request: (1,), latency_s=LATENCY_S)
    policy, world = _Speaker(engine), _Clock(engine)
    imagination = ImaginationConfig(
        episodes_per_round=num_groups * GROUP_SIZE,
        batches_per_round=num_groups // GROUPS_PER_UPDATE,
        group_size=GROUP_SIZE,
        horizon=LONG[1],
        max_staleness=max_staleness,
    )

    def publish() -> None:
        policy.engine.load_weights({}, version=learner.version)
        policy.version = learner.version

    crew = LocalCrew(
        world=world,
        behaviors={"policy": policy, "exploration": policy},
        model=world,
        config=WorldConfig(max_turns=1),
        imagination=imagination,
        max_concurrent=MAX_CONCURRENT,
        publish_policy=publish,
    )
    rest = _Unlearned()
    real = RealConfig(demonstrations=0, explorations=num_groups, episodes_per_round=0)
    return DynaLoop(
        world=world,
        crew=crew,
        replay=FifoBuffer(max_transitions=10 * num_groups, seed=seed),
        model_learner=rest,
        policy_learner=learner,
        ledger=Ledger(),
        evaluator=rest,
        stream=Stream([Experience(real=real, rounds=1)]),
        imagination=imagination,
        seed=seed,
        max_turns=1,
        first_task=1000 * seed,
    )


def _request(speaker: str, *, context: Context) -> GenerationRequest:
    return GenerationRequest(
        conversation_id=f"{speaker}:{context.episode_id}",
        prompt_ids=(1,),
        max_new_tokens=1,
        stop_ids=(),
        seed=context.seed,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--caps", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--num-updates", type=int, default=8)
    parser.add_argument("--num-pairs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = bench_async_vs_lockstep(
        caps=arguments.caps, num_updates=arguments.num_updates, num_pairs=arguments.num_pairs
    )
    Console().print_json(json.dumps(result))


if __name__ == "__main__":
    main()
