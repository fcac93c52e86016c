"""What values a configuration may hold: the range of every number, and what must fit together."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import reduce

from dyna.config import Backend, RunConfig, Sharding, StreamConfig


@dataclass(frozen=True, slots=True)
class Range:
    """Bounds of a number; an open end is excluded. Example: `Range(0, 1, open_high=True)`."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return math.isfinite(value) and above and below

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"{'>' if self.open_low else '>='} {self.low:g}"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low:g}, {self.high:g}{right}"


COUNT = Range(0)
AT_LEAST_ONE = Range(1)
POSITIVE = Range(0, open_low=True)
NON_NEGATIVE = Range(0)
SHARE = Range(0, 1)
SHARE_BELOW_ONE = Range(0, 1, open_high=True)

_OPTIMIZER: dict[str, Range] = {
    "learning_rate": POSITIVE,
    "weight_decay": NON_NEGATIVE,
    "beta1": SHARE_BELOW_ONE,
    "beta2": SHARE_BELOW_ONE,
    "warmup_steps": COUNT,
    "final_fraction": SHARE,
    "max_grad_norm": POSITIVE,
    "tokens_per_batch": AT_LEAST_ONE,
    "tokens_per_pass": AT_LEAST_ONE,
}

RANGES: dict[str, Range] = {
    "seed": Range(0, 2**63 - 1),
    "rounds": COUNT,
    "max_real_steps": COUNT,
    "max_spend": NON_NEGATIVE,
    "world.step_timeout_s": POSITIVE,
    "world.workers.num": AT_LEAST_ONE,
    "world.workers.max_episodes": AT_LEAST_ONE,
    "world.workers.max_memory_mb": AT_LEAST_ONE,
    "world.max_turns": AT_LEAST_ONE,
    "world.first_task": COUNT,
    "policy.model.max_context": AT_LEAST_ONE,
    "policy.model.lora.rank": COUNT,
    "policy.model.lora.alpha": POSITIVE,
    "policy.temperature": POSITIVE,
    "policy.max_new_tokens": AT_LEAST_ONE,
    **{f"policy_learner.optimizer.{name}": bounds for name, bounds in _OPTIMIZER.items()},
    "policy_learner.clip_low": SHARE_BELOW_ONE,
    "policy_learner.clip_high": POSITIVE,
    "policy_learner.epochs": AT_LEAST_ONE,
    "policy_learner.ref_kl": NON_NEGATIVE,
    "policy_learner.slow_copy": SHARE,
    "policy_learner.max_importance": Range(1),
    "policy_learner.imitation_epochs": COUNT,
    "policy_learner.imitation_learning_rate": POSITIVE,
    "policy_learner.demonstration_weight": NON_NEGATIVE,
    "world_model.model.max_context": AT_LEAST_ONE,
    "world_model.model.lora.rank": COUNT,
    "world_model.model.lora.alpha": POSITIVE,
    "world_model.max_new_tokens": AT_LEAST_ONE,
    **{f"world_model_learner.optimizer.{name}": bounds for name, bounds in _OPTIMIZER.items()},
    "world_model_learner.first_epochs": NON_NEGATIVE,
    "world_model_learner.epochs": NON_NEGATIVE,
    "world_model_learner.replay_ratio": SHARE_BELOW_ONE,
    "world_model_learner.gate.margin": SHARE_BELOW_ONE,
    "world_model_learner.gate.loss_margin": NON_NEGATIVE,
    "world_model_learner.gate.level": Range(0, 1, open_low=True, open_high=True),
    "world_model_learner.gate.holdout_fraction": SHARE_BELOW_ONE,
    "world_model_learner.gate.max_bytes": AT_LEAST_ONE,
    "world_model_learner.gate.min_turns": COUNT,
    "world_model_learner.gate.keep_refused": COUNT,
    "engine.max_batch": AT_LEAST_ONE,
    "engine.num_actors": COUNT,
    "engine.tensor_parallel": AT_LEAST_ONE,
    "engine.num_gpus": NON_NEGATIVE,
    "engine.num_cpus": NON_NEGATIVE,
    "engine.start_timeout_s": POSITIVE,
    "engine.request_timeout_s": POSITIVE,
    "replay.max_transitions": AT_LEAST_ONE,
    "replay.max_bytes": AT_LEAST_ONE,
    "real.demonstrations": COUNT,
    "real.explorations": COUNT,
    "real.episodes_per_round": COUNT,
    "real.group_size": AT_LEAST_ONE,
    "imagination.episodes_per_round": COUNT,
    "imagination.batches_per_round": AT_LEAST_ONE,
    "imagination.group_size": AT_LEAST_ONE,
    "imagination.horizon": AT_LEAST_ONE,
    "imagination.branch_fraction": SHARE,
    "imagination.new_task_fraction": SHARE,
    "imagination.min_confidence": SHARE,
    "imagination.min_win_confidence": SHARE,
    "imagination.max_staleness": COUNT,
    "stream.drift.threshold": POSITIVE,
    "stream.drift.tolerance": NON_NEGATIVE,
    "stream.drift.level": Range(0, 1, open_low=True, open_high=True),
    "stream.drift.min_episodes": AT_LEAST_ONE,
    "stream.drift.floor": POSITIVE,
    "rehearsal.episodes": COUNT,
    "rehearsal.min_confidence": SHARE,
    "rehearsal.min_win_confidence": SHARE,
    "rehearsal.new_task_fraction": SHARE,
    "rehearsal.share": NON_NEGATIVE,
    "alarm.episodes_per_round": COUNT,
    "alarm.max_episodes_per_round": COUNT,
    "alarm.tolerance": SHARE_BELOW_ONE,
    "alarm.level": Range(0, 1, open_low=True, open_high=True),
    "evaluation.every": AT_LEAST_ONE,
    "evaluation.num_tasks": COUNT,
    "evaluation.first_task": COUNT,
    "evaluation.fidelity_episodes": COUNT,
    "runtime.num_env_runners": COUNT,
    "runtime.cpus_per_env_runner": NON_NEGATIVE,
    "runtime.gpus_per_env_runner": NON_NEGATIVE,
    "runtime.num_learners": COUNT,
    "runtime.gpus_per_learner": NON_NEGATIVE,
    "runtime.placement_timeout_s": POSITIVE,
    "runtime.runner_timeout_s": POSITIVE,
    "runtime.threads": AT_LEAST_ONE,
    "tracking.checkpoint_every": COUNT,
    "tracking.keep_checkpoints": AT_LEAST_ONE,
}
"""Every number of `RunConfig`; a test holds that none is missing."""

_ONE_MODEL_ENGINES = ("transformers", "scripted", "openai")
_DTYPES = ("float32", "bfloat16")


def problems(config: RunConfig) -> list[str]:
    """One sentence for each value that cannot be used; empty when all is well."""
    found = [
        f"{name} must be {bounds}, got {value}"
        for name, bounds in RANGES.items()
        if (value := reduce(getattr, name.split("."), config)) not in bounds  # type: ignore[operator]
    ]
    for name, model in (("policy", config.policy.model), ("world_model", config.world_model.model)):
        if model.dtype not in _DTYPES:
            found.append(f"{name}.model.dtype must be {' or '.join(_DTYPES)}, got {model.dtype!r}")
        if not model.path:
            found.append(
                f"{name}.model.path must be `base`, `tiny`, a folder or a hub name, got ''"
            )
    return found + _mismatches(config)


def _mismatches(config: RunConfig) -> list[str]:
    found: list[str] = []
    for name, part in (("policy", config.policy), ("world_model", config.world_model)):
        if part.max_new_tokens >= part.model.max_context:
            found.append(
                f"{name}.max_new_tokens must be less than {name}.model.max_context"
                f" ({part.model.max_context}), got {part.max_new_tokens}"
            )
    for name, part in (("real", config.real), ("imagination", config.imagination)):
        if 0 < part.episodes_per_round < part.group_size:
            found.append(
                f"{name}.episodes_per_round must hold one whole group of {part.group_size},"
                f" got {part.episodes_per_round}"
            )
    found += _stream_problems(config.stream)
    if not config.name or "/" in config.name:
        found.append(f"name must be usable as the name of a folder, got {config.name!r}")
    return found + _engine_mismatches(config) + _learner_mismatches(config)


def _stream_problems(stream: StreamConfig) -> list[str]:
    found: list[str] = []
    names = [part.name for part in stream.experiences]
    for place, part in enumerate(stream.experiences):
        where = f"stream.experiences[{place}]"
        real = part.real
        budget = (real.demonstrations, real.explorations, part.rounds * real.episodes_per_round)
        if not re.fullmatch(r"[^\s/:]+", part.name) or names.count(part.name) > 1:
            found.append(
                f"{where}.name must be one word of its own, without `:` and `/`, got {part.name!r}"
            )
        if min(budget) < 0 or part.rounds < 0 or real.group_size < 1:
            found.append(f"{where} must not hold negative numbers, got {real} and {part.rounds}")
        elif not any(budget):
            found.append(
                f"{where} ({part.name}) may spend nothing in the real world; set its"
                " real.demonstrations, real.explorations, or rounds and real.episodes_per_round"
            )
    return found


def _learner_mismatches(config: RunConfig) -> list[str]:
    runtime = config.runtime
    found: list[str] = []
    if runtime.sharding is Sharding.FSDP and runtime.num_learners < 2:
        found.append(
            "runtime.sharding=fsdp spreads a model over learners: set runtime.num_learners to 2 or"
            f" more, got {runtime.num_learners}"
        )
    if runtime.gpus_per_learner and not runtime.num_learners:
        found.append(
            "runtime.gpus_per_learner is of learner actors: set runtime.num_learners; without them"
            " the driver learns where model.device says"
        )
    if runtime.gpus_per_learner > 1:
        found.append(
            "runtime.gpus_per_learner must be <= 1, for a learner uses one GPU; more of them are"
            f" used by more learners; got {runtime.gpus_per_learner:g}"
        )
    return found


def _engine_mismatches(config: RunConfig) -> list[str]:
    engine = config.engine
    found: list[str] = []
    if engine.num_actors and config.runtime.backend is not Backend.RLLIB:
        found.append(
            f"engine.num_actors={engine.num_actors} needs runtime.backend=rllib, got"
            f" {config.runtime.backend.value}; set engine.num_actors=0 for engines in this process"
        )
    if engine.num_gpus and not engine.num_actors:
        found.append(
            "engine.num_gpus is of engine actors: set engine.num_actors, or give rollout actors"
            " GPUs of their own by runtime.gpus_per_env_runner"
        )
    is_fraction = engine.num_gpus < 1 and engine.tensor_parallel == 1
    if engine.num_gpus and not is_fraction and engine.num_gpus != engine.tensor_parallel:
        found.append(
            f"engine.num_gpus must be engine.tensor_parallel ({engine.tensor_parallel}), or a"
            f" fraction where that is 1; got {engine.num_gpus:g}"
        )
    if engine.shared and engine.name in _ONE_MODEL_ENGINES:
        found.append(
            f"engine.shared needs an engine that holds several adapters, such as `vllm`; got"
            f" `{engine.name}`"
        )
    if engine.sleeps and not engine.num_actors:
        found.append("engine.sleeps is of engine actors: set engine.num_actors")
    if engine.sleeps and config.imagination.max_staleness:
        found.append(
            "engine.sleeps and imagination.max_staleness exclude each other: engines that sleep"
            " while the learner steps cannot imagine meanwhile"
        )
    return found
