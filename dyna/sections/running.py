"""On which machines a run runs, how it is measured, what it keeps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Backend(StrEnum):
    LOCAL = "local"
    """Everything in this process."""
    RLLIB = "rllib"
    """RLlib actors on this machine or a cluster."""


class Sharding(StrEnum):
    """How several learners hold one model."""

    NONE = "none"
    """Each holds all of it; gradients are added up."""
    FSDP = "fsdp"
    """Each holds its share of weights, gradients and optimizer state (FSDP2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    backend: Backend = Backend.LOCAL
    num_env_runners: int = 0
    """Rollout actors; 0 plays in the driver."""
    cpus_per_env_runner: float = 1.0
    gpus_per_env_runner: float = 0.0
    """For engines inside rollout actors; with engine actors they need none."""
    num_learners: int = 0
    """Learner actors; 0 learns in the driver."""
    gpus_per_learner: float = 0.0
    """A fraction lets a learner share its GPU with an engine actor."""
    sharding: Sharding = Sharding.NONE
    """How several learners hold a model."""
    placement_timeout_s: float = 120.0
    """Seconds until the cluster must have room for the run's engine actors, and for rollout actors
    that died when too few others are left."""
    runner_timeout_s: float = 3600.0
    """Seconds in which a rollout actor must answer; one that does not is taken for hung."""
    engine_group: str = ""
    """The name under which rollout actors find the run's engine actors; set by the run itself."""
    threads: int = 1
    """CPU threads of torch in each process."""
    address: str = ""
    """Of a running Ray cluster (`auto`, `ray://HOST:10001`); empty starts one on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    every: int = 1
    """Rounds between evaluations in the real world; the last round is always evaluated."""
    num_tasks: int = 64
    """Held-out tasks played once each, greedily."""
    split: str = "valid_unseen"
    first_task: int = 0
    """Where in the split the held-out tasks begin."""
    imagined: bool = True
    """Play the same tasks in the world model too, for the exploitation gap."""
    fidelity_episodes: int = 64
    """Held-out real episodes on which the world model is scored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingConfig:
    tensorboard: bool = False
    """Write TensorBoard event files beside the JSONL."""
    checkpoint_every: int = 1
    """Rounds between checkpoints; 0 keeps only the last."""
    keep_checkpoints: int = 2
