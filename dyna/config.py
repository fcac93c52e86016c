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


class Sharding(StrEnum):
    """How several learners hold one model."""

    NONE = "none"
    """Each holds all of it; gradients are added up."""
    FSDP = "fsdp"
    """Each holds its share of weights, gradients and optimizer state (FSDP2)."""


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
class LoRAConfig:
    """Low-rank adapters (Hu et al., arXiv 2106.09685) in place of training every weight."""

    rank: int = 0
    """0 trains every weight."""
    alpha: float = 32.0
    """The adapter's product is scaled by `alpha / rank`."""
    target_modules: list[str] = field(
        default_factory=lambda: [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "gate_proj",
            "up_proj",
            "down_proj",
        ]
    )
    """Linear layers that get one, by the last part of their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    path: str = "base"
    """`base` (the small checkpoint in the package), `tiny` (that checkpoint in the words of the
    run's own world, made from its first real episodes), a folder, or a hub name."""
    dtype: str = "float32"
    """Of the weights: `float32` or `bfloat16`."""
    max_context: int = 640
    """Tokens of transcript kept; an episode that outgrows them is cut."""
    device: str = "auto"
    """`auto` (the process's first GPU if it has one, else the CPU), `cpu`, `cuda`, `cuda:1`, ..."""
    lora: LoRAConfig = field(default_factory=LoRAConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    name: str = "transformers"
    """The text generator: `transformers`, `vllm`, `openai`, or `package.module:Name`."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments of the engine."""
    max_batch: int = 64
    """Conversations decoded together; more wait for a free row."""
    num_actors: int = 0
    """Engine actors of each model, which all rollout actors share; 0 gives every rollout actor
    engines of its own. Needs `runtime.backend=rllib`."""
    shared: bool = False
    """One engine holds policy and world model as two LoRA adapters over one base."""
    tensor_parallel: int = 1
    """GPUs over which one engine spreads its model."""
    num_gpus: float = 0.0
    """GPUs of each engine actor: its `tensor_parallel`, or a fraction of one that it shares."""
    num_cpus: float = 1.0
    """CPUs of each engine actor."""
    start_timeout_s: float = 600.0
    """Seconds until an engine actor must be ready to answer."""
    request_timeout_s: float = 300.0
    """Seconds without any progress after which an engine is taken for hung and replaced."""
    sleeps: bool = False
    """Free the engine's GPU memory while a learner on the same GPU steps."""


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
    tokens_per_pass: int = 4096
    """Tokens of one forward and backward pass at most; a step adds up the gradients of as many
    passes as it takes. A longer sample gets a pass of its own."""
    gradient_checkpointing: bool = False
    """Compute activations again on the way back instead of keeping them: less memory, more time."""


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
    max_importance: float = 2.0
    """Where the engine's probability of an action token differs from the learner's, because the
    engine computes otherwise or was behind, its credit is weighed by their ratio, up to this."""
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
    expert: PluginConfig = field(default_factory=lambda: PluginConfig(name="expert"))
    """Who plays them."""
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
    max_staleness: int = 0
    """Policy updates by which an imagined action may be older than the policy that learns from
    it. 0 imagines and learns by turns; above, imagination goes on while the learner steps."""


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
    max_spend: float = 0.0
    """The run ends before calls of priced model servers cost more; 0 means no such limit."""
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
