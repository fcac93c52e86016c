"""Imagined steps per second with 1, 2, 4, 8 rollout actors, against an engine of fixed latency.

Everything of a dream is real (rollout actors, policy, world model, rendering, the way back to the
driver) but the forward passes: every request is answered with a fixed sentence after a fixed time,
however many are under way. So a machine of few cores shows what the loop around the engines costs,
and whether it grows with the actors. Each actor has the same work at every size.
"""

# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import psutil

from dyna.cluster.connection import connect, disconnect
from dyna.config import (
    Backend,
    EngineConfig,
    ImaginationConfig,
    ModelConfig,
    RunConfig,
    RuntimeConfig,
    WorldConfig,
)
from dyna.engines.scripted import ScriptedEngine
from dyna.imagination import Dream
from dyna.ledger import Ledger
from dyna.protocols import GenerationRequest, World
from dyna.rendering import Renderer
from dyna.rollout import EpisodeSpec, check_policies, gather_groups
from dyna.training.models import load_tokenizer
from dyna.types import Credit, TrainingSample, Trajectory

GOAL = 0.9
"""Of the efficiency at the largest size."""
_COMMAND = "go to shelf 1"
_ANSWER = "On the shelf 1, you see a mug 1, a plate 2, and a saltshaker 1. [reward 0]"
_GROUP = 4
"""Dreams of one start, which stay together."""
_PROCESSES = (
    "driver_cpu_s_per_1000_steps",
    "actor_cpu_s_per_1000_steps",
    "ray_cpu_s_per_1000_steps",
)


class FixedLatencyEngine(ScriptedEngine):
    """Says the same sentence each time: one as the policy, another as the world model."""

    def __init__(self, *, model_config: ModelConfig, latency_s: float) -> None:
        renderer = Renderer(load_tokenizer(model_config), max_context=model_config.max_context)
        command, answer = (
            (*renderer.encode(text), renderer.stop_ids[0]) for text in (_COMMAND, _ANSWER)
        )

        def reply(request: GenerationRequest) -> Sequence[int]:
            said = command if request.conversation_id.startswith("policy:") else answer
            # A tuple of its own each time: a pickle would hold one that is shared only once.
            return list(said)

        super().__init__(reply, latency_s=latency_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    sizes: tuple[int, ...] = (1, 2, 4, 8)
    conversations: int = 16
    """Under way at once in each actor."""
    horizon: int = 12
    """Steps of every dream: two requests each, one to the policy and one to the model."""
    latency_s: float = 0.25
    num_batches: int = 3
    """Measured at each size, after one that warms up."""
    seed: int = 0

    @property
    def ceiling(self) -> float:
        """Steps per second of one actor if all but the engine took no time."""
        return self.conversations / (2 * self.latency_s)


def bench_scale(setting: Setting | None = None) -> dict[str, Any]:
    """Steps/s, efficiency, driver CPU and bytes by number of actors, on a Ray of its own.

    `efficiency` at n actors is steps/s at n over n times steps/s at the smallest size, per actor.
    """
    setting = setting or Setting()
    config = _config(setting)
    started = connect(replace(config.runtime, num_env_runners=setting.sizes[-1]))
    from dyna.rllib import Dyna, DynaConfig  # imports Ray, hence after connect

    algorithm = cast(
        Dyna, DynaConfig().dyna(run_config=config, build="experiments.build").build_algo()
    )
    by_size: dict[int, dict[str, float]] = {}
    try:
        for size in setting.sizes:
            missing = size - algorithm.crew.group.num_remote_env_runners()
            if missing:
                algorithm.crew.group.add_workers(missing)
            by_size[size] = _measure(algorithm, size=size, setting=setting)
    finally:
        algorithm.crew.player.crew.close()
        algorithm.stop()
        if started:
            disconnect()
    return _summary(by_size, setting=setting)


def _config(setting: Setting) -> RunConfig:
    plain = RunConfig()
    engine = EngineConfig(
        name="experiments.bench.scale:FixedLatencyEngine",
        params={"latency_s": setting.latency_s},
        max_batch=setting.conversations,
    )
    return replace(
        plain,
        name="bench-scale",
        seed=setting.seed,
        world=WorldConfig(
            name="household", params={"rooms": ["kitchen"]}, max_turns=setting.horizon
        ),
        engine=engine,
        imagination=ImaginationConfig(horizon=setting.horizon),
        runtime=RuntimeConfig(
            backend=Backend.RLLIB, num_env_runners=setting.sizes[0], cpus_per_env_runner=1.0
        ),
    )


def _measure(algorithm: Any, *, size: int, setting: Setting) -> dict[str, float]:
    """Medians over the batches."""
    crew = algorithm.crew
    num = size * setting.conversations
    dreams = asyncio.run(_dreams(crew.player.crew.world, num=num, seed=setting.seed))
    found: dict[str, list[float]] = {name: [] for name in ("steps_per_s", *_PROCESSES)}
    for batch in range(setting.num_batches + 1):
        cpu, began = _cpu_seconds(), time.perf_counter()
        dreamt: list[Trajectory] = crew.imagine(dreams)
        wall, spent = time.perf_counter() - began, _cpu_seconds()
        steps = sum(len(t.new_turns) for t in dreamt)
        if steps != num * setting.horizon:
            raise RuntimeError(
                f"{num} dreams of {setting.horizon} steps gave {steps} steps: the fixed sentences "
                "must fit the context and never end a dream"
            )
        if not batch:
            continue
        found["steps_per_s"].append(steps / wall)
        for name in _PROCESSES:
            found[name].append(1000 * (spent[name] - cpu[name]) / steps)
    medians = {name: statistics.median(values) for name, values in found.items()}
    moved = _bytes_moved(dreams, dreamt=dreamt, size=size) / steps
    return medians | {"bytes_per_step": moved} | _learning_costs(algorithm, dreamt=dreamt)


def _cpu_seconds() -> dict[str, float]:
    """Processor seconds so far, by `_PROCESSES`: this process, and its children by their names."""
    spent = dict.fromkeys(_PROCESSES, 0.0) | {"driver_cpu_s_per_1000_steps": time.process_time()}
    for child in psutil.Process().children(recursive=True):
        try:
            words, times = child.cmdline(), child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        is_actor = bool(words) and words[0].startswith("ray::DynaEnvRunner")
        is_ray = bool(words) and words[0].endswith(("/raylet", "/gcs_server"))
        if is_actor or is_ray:
            name = "actor_cpu_s_per_1000_steps" if is_actor else "ray_cpu_s_per_1000_steps"
            spent[name] += times.user + times.system
    return spent


def _bytes_moved(dreams: Sequence[Dream], *, dreamt: Sequence[Trajectory], size: int) -> int:
    """What an imagined batch weighs on its way there and back, as Ray pickles it, by actor.

    Ray sends the calls and their answers as one pickle each; this pickles the same shares again,
    outside the measured time.
    """
    total = 0
    for actor in range(size):
        groups = range(actor, len(dreams) // _GROUP, size)
        chosen = [group * _GROUP + member for group in groups for member in range(_GROUP)]
        total += _num_bytes([dreams[i] for i in chosen]) + _num_bytes([dreamt[i] for i in chosen])
    return total


def _num_bytes(value: object) -> int:
    from ray import cloudpickle

    pickle: Callable[[object], bytes] = cloudpickle.dumps
    return len(pickle(value))


def _learning_costs(algorithm: Any, *, dreamt: Sequence[Trajectory]) -> dict[str, float]:
    """What the driver does with dreams before a learner sees them: books, groups, samples,
    and the pickle that takes the samples there."""
    config: RunConfig = algorithm.run_config
    renderer = Renderer(
        load_tokenizer(config.policy.model), max_context=config.policy.model.max_context
    )
    steps = sum(len(t.new_turns) for t in dreamt)
    began = time.process_time()
    check_policies(dreamt)
    ledger = Ledger()
    for trajectory in dreamt:
        ledger.enter(trajectory)
    samples: list[TrainingSample] = []
    for group in gather_groups(dreamt):
        for trajectory in group.trajectories:
            credit = Credit(trajectory=trajectory, rl=(1.0,) * len(trajectory.turns))
            sample = renderer.policy_sample(credit)
            samples += [sample] if sample else []
    num_bytes = _num_bytes(samples)
    spent = time.process_time() - began
    return {
        "learning_cpu_s_per_1000_steps": 1000 * spent / steps,
        "sample_bytes_per_step": num_bytes / steps,
        "sample_tokens_per_step": sum(len(s.token_ids) for s in samples) / steps,
    }


async def _dreams(world: World, *, num: int, seed: int) -> list[Dream]:
    env = world.make()
    dreams: list[Dream] = []
    for group, task in enumerate(world.tasks(split="train", num=num // _GROUP)):
        start = await env.reset(task)
        for member in range(_GROUP):
            spec = EpisodeSpec(
                task=task,
                episode_id=f"scale/{group}/{member}",
                group_id=f"scale/{group}",
                seed=seed + len(dreams),
            )
            dreams.append(Dream(spec=spec, start=start))
    await env.close()
    return dreams


_TOLD = (
    *_PROCESSES,
    "learning_cpu_s_per_1000_steps",
    "bytes_per_step",
    "sample_bytes_per_step",
    "sample_tokens_per_step",
)


def _summary(by_size: dict[int, dict[str, float]], *, setting: Setting) -> dict[str, Any]:
    first = setting.sizes[0]
    one = by_size[first]["steps_per_s"] / first
    for size, found in by_size.items():
        found["efficiency"] = found["steps_per_s"] / size / one
        found["share_of_ceiling"] = found["steps_per_s"] / size / setting.ceiling
    largest = by_size[setting.sizes[-1]]
    return {
        f"scaling_efficiency_{setting.sizes[-1]}": largest["efficiency"],
        "driver_cpu_s_per_1000_more_steps": _marginal_driver_cpu(by_size),
        **{name: largest[name] for name in _TOLD},
        "by_actors": {str(size): found for size, found in by_size.items()},
        "conversations_per_actor": setting.conversations,
        "horizon": setting.horizon,
        "latency_s": setting.latency_s,
        "batches": setting.num_batches,
        "seed": setting.seed,
        "bytes_measured_as": "pickled size of the dreams sent and the trajectories answered",
    }


def _marginal_driver_cpu(by_size: dict[int, dict[str, float]]) -> float:
    """By how much the driver's CPU seconds grow with 1,000 more steps: its idle life taken off."""
    few, many = by_size[min(by_size)], by_size[max(by_size)]
    more = many["steps_per_s"] - few["steps_per_s"]
    if not more:
        return few["driver_cpu_s_per_1000_steps"]
    spent = [row["driver_cpu_s_per_1000_steps"] * row["steps_per_s"] for row in (many, few)]
    return (spent[0] - spent[1]) / more


def to_markdown(found: dict[str, Any]) -> str:
    rows = [
        "| rollout actors | imagined steps/s | efficiency | of the engine's ceiling "
        "| driver | actors | Ray | bytes/step |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for size, row in found["by_actors"].items():
        cpu = " | ".join(f"{row[name]:.3f}" for name in _PROCESSES)
        rows.append(
            f"| {size} | {row['steps_per_s']:,.1f} | {row['efficiency']:.3f} "
            f"| {row['share_of_ceiling']:.3f} | {cpu} | {row['bytes_per_step']:,.0f} |"
        )
    note = (
        f"Each actor holds {found['conversations_per_actor']} conversations of "
        f"{found['horizon']} steps; every request takes {found['latency_s']:g} s. Medians of "
        f"{found['batches']} batches. Driver, actors, Ray: CPU seconds per 1,000 imagined steps of "
        f"all such processes together, what they do when idle included. Bytes: "
        f"{found['bytes_measured_as']}. 1,000 steps more cost the driver "
        f"{found['driver_cpu_s_per_1000_more_steps']:.4f} CPU s. What the driver does with the "
        "dreams before a learner sees them takes "
        f"{found['learning_cpu_s_per_1000_steps']:.3f} CPU s per 1,000 steps, and its "
        f"samples weigh {found['sample_bytes_per_step']:,.0f} bytes per step "
        f"({found['sample_tokens_per_step']:.1f} tokens)."
    )
    return "\n".join([*rows, "", note])


def main() -> None:
    from rich.console import Console

    Console(soft_wrap=True).print(to_markdown(bench_scale()))


if __name__ == "__main__":
    main()
