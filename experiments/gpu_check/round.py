"""The Dyna round end to end on the device: the demo's config, cut short."""

from __future__ import annotations

import io
import math
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from dyna.checkpoint import latest
from dyna.configuring import load
from dyna.tracking import read_metrics
from experiments.gpu_check.findings import CannotRunError, Finding
from experiments.gpu_check.subjects import Bench
from experiments.run import run
from experiments.usage import find_config

_FULL = (
    "rounds=2",
    "policy_learner.imitation_epochs=5",
    "world_model_learner.first_epochs=4",
    "imagination.episodes_per_round=256",
    "evaluation.num_tasks=32",
    "evaluation.fidelity_episodes=16",
)
_TINY = (
    "rounds=1",
    "world.max_turns=4",
    "policy_learner.imitation_epochs=1",
    "policy_learner.epochs=1",
    "world_model_learner.first_epochs=1",
    "world_model_learner.epochs=1",
    "real.demonstrations=4",
    "real.explorations=4",
    "real.episodes_per_round=4",
    "imagination.episodes_per_round=8",
    "imagination.batches_per_round=1",
    "evaluation.num_tasks=2",
    "evaluation.fidelity_episodes=2",
)


def check_round(bench: Bench, *, engine: str) -> Finding:
    """Seconds of a short run; it passes when all its rounds, files and numbers are there."""
    if engine == "vllm" and find_spec("vllm") is None:
        raise CannotRunError('vLLM is not installed: pip install "dyna-agents[vllm]"')
    device = str(bench.device)
    changes = [
        *(_TINY if bench.is_tiny else _FULL),
        f"policy.model.device={device}",
        f"world_model.model.device={device}",
        f"engine.name={engine}",
    ]
    if engine == "vllm" and bench.device.type == "cuda":
        # Policy, world model and two learners share the device.
        changes.append("engine.params={gpu_memory_utilization: 0.2}")
    config = load(find_config("household"), overrides=changes)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        began = time.perf_counter()
        report = run(config, folder=folder, console=Console(file=io.StringIO()))
        wall = time.perf_counter() - began
        rounds = read_metrics(folder)
        last = rounds[-1][1]
        wanted = ("eval/real_success", "eval/imagined_success", "ledger/imagined_steps")
        numbers = {name: last.get(name, math.nan) for name in wanted}
        is_whole = (
            report.is_file()
            and latest(folder) is not None
            and [number for number, _ in rounds] == list(range(config.rounds + 1))
            and all(map(math.isfinite, numbers.values()))
        )
    return Finding(
        measured=wall,
        unit="s",
        passed=is_whole,
        details={"rounds": config.rounds, "engine": engine, **numbers},
    )
