"""What speaks: language models, the engines that run them, the agent and the world model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ActionMode(StrEnum):
    """How an LLM policy writes its action."""

    FREE = "free"
    """Free text; the parser finds the command."""
    ADMISSIBLE = "admissible"
    """Constrained to the commands that the world lists; free text where it lists none."""


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
