"""The config tree: frozen dataclasses, parsed once, saved with every run.

YAML and `key=value` overrides enter through `dyna.configuring.load` and nowhere else. A name that
can be plugged in is a `PluginConfig`: an alias such as `household`, or
`package.module:Name`, with the parameters that its author chose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Isolation(StrEnum):
    """Where an environment runs."""

    INLINE = "inline"
    """In the rollout's own event loop: for worlds that answer in microseconds."""
    THREAD = "thread"
    """In a thread of its own, so that one that hangs is given up after `step_timeout_s`."""
    PROCESS = "process"
    """In a process of its own, so that one that crashes, leaks or hangs is replaced."""


class ActionMode(StrEnum):
    """How an LLM policy writes its action."""

    FREE = "free"
    """Free text; the parser finds the command."""
    ADMISSIBLE = "admissible"
    """Constrained to the commands that the world lists; free text where it lists none."""


class Backend(StrEnum):
    LOCAL = "local"
    """Everything in this process."""
    RLLIB = "rllib"
    """RLlib actors on this machine or a cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig:
    name: str = ""
    """An alias (see `dyna plugins`) or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The processes in which `isolation: process` plays the real world."""

    num: int = 4
    """Processes at most, in each rollout actor; as many real episodes are played at once."""
    max_episodes: int = 200
    """Episodes after which a process is replaced, for worlds that leak."""
    max_memory_mb: int = 2048
    """MiB of resident memory above which a process is killed and its episode has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldConfig:
    name: str = "household"
    """The real world: an alias or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the world."""
    isolation: Isolation = Isolation.INLINE
    """`inline` for worlds that answer in microseconds, `thread` for those that may hang,
    `process` for those that may crash or must not share a process."""
    workers: WorkerConfig = field(default_factory=WorkerConfig)
    step_timeout_s: float = 30.0
    """Seconds after which a reset or step is given up and the episode recorded as a failure."""
    max_turns: int = 20
    """Turns after which an episode is cut; the world may set a lower limit itself."""
    first_task: int = 0
    """Where in the train split this run's tasks begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    path: str = "base"
    """`base` (the small checkpoint in the package), `tiny` (that checkpoint in the words of the
    run's own world, made from its first real episodes), a folder, or a hub name."""
    dtype: str = "float32"
    """Of the weights: `float32` or `bfloat16`."""
    max_context: int = 640
    """Tokens of transcript kept; an episode that outgrows them is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    name: str = "transformers"
    """The text generator: an alias or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the engine."""
    max_batch: int = 64
    """Conversations decoded together; more wait for a free row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    """Decoupled weight decay, on matrices only."""
    beta1: float = 0.9
    beta2: float = 0.98
    warmup_steps: int = 10
    """Steps of linear warm-up at the start of each update."""
    final_fraction: float = 0.1
    """The learning rate falls linearly to this share of its peak by the end of each update."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    tokens_per_batch: int = 4096
    """Tokens of one optimizer step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    name: str = "llm"
    """The agent: an alias or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the policy."""
    model: ModelConfig = field(default_factory=ModelConfig)
    actions: ActionMode = ActionMode.FREE
    """`free` text, or `admissible` commands only."""
    parser: str = "plain"
    """Finds the command in what the policy says: `plain`, `react`, `toolbench`, or
    `package.module:Name`."""
    temperature: float = 1.0
    """Of sampling while training; evaluation is greedy."""
    max_new_tokens: int = 16
    """Tokens of one action."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLearnerConfig:
    algorithm: PluginConfig = field(default_factory=lambda: PluginConfig(name="grpo"))
    """Credit: `filtered_bc`, `reinforce`, `grpo`, `ppo_clip`, or `package.module:Name`."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    clip_low: float = 0.2
    """Lower clip of the importance ratio, as in PPO."""
    clip_high: float = 0.2
    """Upper clip of the importance ratio."""
    epochs: int = 1
    """Passes over each batch of experience."""
    ref_kl: float = 0.0
    """Weight of the KL to the policy that cloning ended with."""
    imitation_epochs: int = 10
    """Passes of cloning over the demonstrations before the first round."""
    imitation_learning_rate: float = 1e-3
    demonstration_weight: float = 0.1
    """Weight of cloning the demonstrations beside every later update; 0 turns it off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldModelConfig:
    name: str = "llm"
    """The model of the world: an alias or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the world model."""
    model: ModelConfig = field(default_factory=ModelConfig)
    use_hidden_state: bool = True
    """Read the world's privileged state at the start, where it has one."""
    max_new_tokens: int = 64
    """Tokens of one prediction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """May a freshly trained world model go live?"""

    enabled: bool = True
    max_drop: float = 0.02
    """Largest fall of exact match on held-out real turns of past rounds that is let through."""
    holdout_fraction: float = 0.1
    """Share of each round's real episodes kept out of training for this check."""
    min_turns: int = 50
    """Held-out turns below which the check abstains and the model goes live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldModelLearnerConfig:
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    first_epochs: float = 8.0
    """Passes over the real experience of the first round."""
    epochs: float = 4.0
    """Passes over each later round's fresh experience."""
    replay_ratio: float = 0.5
    """Share of replayed turns in each later update, in [0, 1)."""
    frozen_after_first: bool = False
    """Never update after the first round: the baseline without continual learning."""
    gate: GateConfig = field(default_factory=GateConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    name: str = "reservoir"
    """What to keep: `fifo`, `reservoir`, `task_balanced`, or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the buffer."""
    max_transitions: int = 100_000
    """Turns held at most."""
    max_bytes: int = 200 * 2**20
    """Bytes held at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RealConfig:
    """What may be spent in the real world."""

    demonstrations: int = 40
    """Expert episodes before the first round; counted like any other."""
    explorations: int = 120
    """Episodes of `exploration` behavior before the first round, for the world model."""
    exploration: PluginConfig = field(default_factory=lambda: PluginConfig(name="explorer"))
    """Who plays them."""
    episodes_per_round: int = 32
    """Episodes of the current policy in each round."""
    group_size: int = 1
    """Episodes of each task within a round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImaginationConfig:
    episodes_per_round: int = 512
    """Dreams in each round; 0 turns imagination off."""
    batches_per_round: int = 4
    """The round's dreams come in this many batches, the policy learning after each."""
    group_size: int = 8
    """Dreams from each start."""
    horizon: int = 20
    """Imagined turns after which a dream is cut."""
    branch_fraction: float = 0.0
    """Share of dreams that branch from a turn inside a real episode instead of its start."""
    new_task_fraction: float = 0.0
    """Share of dreams from a start that pursue another task in the same place, where the world can
    pose one. The place was met in the real world; the task was not."""
    min_confidence: float = 0.0
    """A prediction less sure than this ends the dream untrusted."""
    min_win_confidence: float = 0.0
    """A predicted success less sure than this ends the dream untrusted."""


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
class RuntimeConfig:
    backend: Backend = Backend.LOCAL
    num_env_runners: int = 0
    """Rollout actors; 0 plays in the driver."""
    num_learners: int = 0
    """Learner actors; 0 learns in the driver."""
    threads: int = 1
    """CPU threads of torch in each process."""
    address: str = ""
    """Of a running Ray cluster (`auto`, `ray://HOST:10001`); empty starts one on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingConfig:
    tensorboard: bool = False
    """Write TensorBoard event files beside the JSONL."""
    checkpoint_every: int = 1
    """Rounds between checkpoints; 0 keeps only the last."""
    keep_checkpoints: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    name: str = "household"
    seed: int = 0
    """Everything random in the run follows from it."""
    rounds: int = 6
    """Turns of the Dyna loop."""
    output: str = "runs"
    """Folder under which the run makes its own."""
    max_real_steps: int = 0
    """The run ends when this many real steps are spent; 0 means no such limit."""
    world: WorldConfig = field(default_factory=WorldConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    policy_learner: PolicyLearnerConfig = field(default_factory=PolicyLearnerConfig)
    world_model: WorldModelConfig = field(default_factory=WorldModelConfig)
    world_model_learner: WorldModelLearnerConfig = field(default_factory=WorldModelLearnerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    real: RealConfig = field(default_factory=RealConfig)
    imagination: ImaginationConfig = field(default_factory=ImaginationConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
