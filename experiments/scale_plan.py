"""`python -m experiments.scale_plan`: the tables of docs/scale.md, from the arithmetic in code.

Policy and world model of Qwen2.5-7B on 8, 64 and 1,024 GPUs. Costs of the loop are read from
`docs/results/bench_cluster.json`, those of the real world from `docs/results/bench_worlds.json`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from dyna.files import read_json
from experiments.arithmetic import GPUS, QWEN25_05B, QWEN25_7B
from experiments.cluster_plan import (
    Conversation,
    LoopCosts,
    Plan,
    Reached,
    RealWorld,
    Setup,
    broadcast_s,
    engine_rates,
    learner_steps_per_s,
    make_plan,
    object_store_s,
)
from experiments.report.sections import write_section

SIZES = (8, 64, 1024)
_FIXED_EPISODES = 4096
_SETUPS = {
    "adapters of rank 32": Setup(),
    "every weight": Setup(lora_rank=0),
}


def shape_table() -> str:
    rows = [
        "| | Qwen2.5-0.5B | Qwen2.5-7B |",
        "|---|--:|--:|",
    ]
    shapes = (QWEN25_05B, QWEN25_7B)
    facts: dict[str, Callable[[int], str]] = {
        "parameters": lambda i: f"{shapes[i].parameters:,}",
        "weights in bf16": lambda i: f"{shapes[i].weight_bytes / 1e9:.2f} GB",
        "read by a decoding step": lambda i: f"{shapes[i].step_bytes / 1e9:.2f} GB",
        "cache per token": lambda i: f"{shapes[i].kv_bytes_per_token:,} bytes",
        "cache of one view at its longest": lambda i: (
            f"{Conversation().length * shapes[i].kv_bytes_per_token / 1e6:.0f} MB"
        ),
        "FLOPs to read one token": lambda i: f"{shapes[i].forward_flops(1) / 1e9:.1f} G",
        "adapters of rank 32, all linear layers": lambda i: (
            f"{shapes[i].lora_parameters(32) / 1e6:.1f} M, "
            f"{4 * shapes[i].lora_parameters(32) / 1e6:.0f} MB in float32"
        ),
    }
    rows += [f"| {name} | {told(0)} | {told(1)} |" for name, told in facts.items()]
    return "\n".join(rows)


def gpu_table() -> str:
    """What one GPU does as an engine, and as a learner."""
    talk, reached = Conversation(), Reached()
    rows = [
        "| | " + " | ".join(gpu.name for gpu in GPUS) + " |",
        "|---|" + "--:|" * len(GPUS),
    ]
    engines = [engine_rates(QWEN25_7B, gpu=gpu, talk=talk, reached=reached) for gpu in GPUS]
    learners = [
        [
            learner_steps_per_s(QWEN25_7B, gpu=gpu, talk=talk, reached=reached, passes=passes)
            for gpu in GPUS
        ]
        for passes in (2, 3)
    ]
    per_step = talk.length / talk.steps
    cells: dict[str, list[str]] = {
        "memory, GB": [f"{gpu.memory / 1e9:.0f}" for gpu in GPUS],
        "memory bandwidth, TB/s": [f"{gpu.bandwidth / 1e12:.2f}" for gpu in GPUS],
        "bf16 matrix rate, TFLOP/s": [f"{gpu.bf16_flops / 1e12:.0f}" for gpu in GPUS],
        "conversations held": [f"{e.conversations:,}" for e in engines],
        "decoding step of all of them, ms": [f"{1e3 * e.batch_step_s:.1f}" for e in engines],
        "tokens decoded per s, reading included": [f"{e.tokens_per_s:,.0f}" for e in engines],
        "imagined steps/s": [f"{e.steps_per_s:,.0f}" for e in engines],
        "training tokens/s, adapters": [f"{per_step * rate:,.0f}" for rate in learners[0]],
        "steps/s learned from, adapters": [f"{rate:,.0f}" for rate in learners[0]],
        "training tokens/s, every weight": [f"{per_step * rate:,.0f}" for rate in learners[1]],
        "steps/s learned from, every weight": [f"{rate:,.0f}" for rate in learners[1]],
    }
    rows += [f"| {name} | " + " | ".join(values) + " |" for name, values in cells.items()]
    return "\n".join(rows)


def sync_table() -> str:
    """Time of one push of one model."""
    rows = [
        "| trained | bytes | NCCL broadcast | "
        + " | ".join(f"object store, {size:,} GPUs" for size in SIZES)
        + " |",
        "|---|--:|--:|" + "--:|" * len(SIZES),
    ]
    for name, setup in _SETUPS.items():
        stores = " | ".join(f"{object_store_s(setup, gpus=size):.2f} s" for size in SIZES)
        rows.append(
            f"| {name} | {setup.push_bytes / 1e9:.2f} GB | {broadcast_s(setup):.3f} s | {stores} |"
        )
    return "\n".join(rows)


def plan_tables(costs: LoopCosts, *, world: RealWorld) -> str:
    """Rounds that grow with the cluster, and the same round on all of them."""
    parts: list[str] = []
    for title, fixed in (
        (f"A round of {Setup().episodes_per_gpu} imagined episodes for each GPU", 0),
        (f"A round of {_FIXED_EPISODES:,} imagined episodes at every size", _FIXED_EPISODES),
    ):
        for name, setup in _SETUPS.items():
            chosen = replace(setup, fixed_episodes=fixed)
            plans = [make_plan(chosen, gpus=size, costs=costs, world=world) for size in SIZES]
            parts += [f"### {title}, {name}", _plan_table(plans)]
    return "\n\n".join(parts)


def _plan_table(plans: list[Plan]) -> str:
    rows = [
        "| H100 GPUs | " + " | ".join(f"{plan.gpus:,}" for plan in plans) + " |",
        "|---|" + "--:|" * len(plans),
    ]
    cells: dict[str, list[str]] = {
        "engines / learners": [f"{p.engines:,} / {p.learners:,}" for p in plans],
        "imagined episodes": [f"{p.episodes:,}" for p in plans],
        "imagined steps/s": [f"{p.steps_per_s:,.0f}" for p in plans],
        "training tokens/s": [f"{p.training_tokens_per_s:,.0f}" for p in plans],
        "CPUs of rollout actors": [f"{p.rollout_cpus:.1f}" for p in plans],
        "CPUs' worth of driver work": [f"{p.driver_cpus:.2f}" for p in plans],
        "through the driver, MB/s": [f"{p.driver_bytes_per_s / 1e6:,.1f}" for p in plans],
        **{f"{part}, s": [f"{p.parts[part]:,.1f}" for p in plans] for part in plans[0].parts},
        "round, s": [f"{p.round_s:,.0f}" for p in plans],
        "GPUs at work": [f"{p.busy:.0%}" for p in plans],
        "first bottleneck": ["{} ({:.0%})".format(*p.bottleneck) for p in plans],
    }
    rows += [f"| {name} | " + " | ".join(values) + " |" for name, values in cells.items()]
    return "\n".join(rows)


def measured(docs: Path) -> tuple[LoopCosts, RealWorld]:
    """The loop's costs and ALFWorld's own, as the benchmarks left them.

    Raises `ValueError` where they were not run.
    """
    path = docs / "results" / "bench_cluster.json"
    details = read_json(path)["details"] if path.exists() else {}
    scale = details.get("scaling_efficiency_8", {})
    if "by_actors" not in scale:
        raise ValueError(f"{path} has no figures of scale; run `make bench-cluster` first")
    official = read_json(docs / "results" / "bench_worlds.json")["worlds"]["alfworld_official"]
    world = RealWorld(step_s=1 / official["steps_per_s"], reset_s=official["reset_ms"] / 1e3)
    return LoopCosts.of(scale), world


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    docs: Path = parser.parse_args().docs
    console = Console(soft_wrap=True)
    tables = {"scale-shape": shape_table(), "scale-gpu": gpu_table(), "scale-sync": sync_table()}
    try:
        costs, world = measured(docs)
        tables["scale-plan"] = plan_tables(costs, world=world)
    except ValueError as error:
        tables["scale-plan"] = f"Not computed yet: {error}."
    for name, table in tables.items():
        write_section(docs / "scale.md", name=name, text=table)
        console.print(table)


if __name__ == "__main__":
    main()
