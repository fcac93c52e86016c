"""What learns from experience, what it remembers, and what it imagines."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dyna.sections.worlds import PluginConfig


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
    """Weight of the KL to the reference: the policy that cloning ended with, or its slow copy."""
    slow_copy: float = 0.0
    """After each update the reference moves this share of the way to the new weights; 0 leaves it
    where cloning ended."""
    max_importance: float = 2.0
    """Where the engine's probability of an action token differs from the learner's, because the
    engine computes otherwise or was behind, its credit is weighed by their ratio, up to this."""
    imitation_epochs: int = 10
    """Passes of cloning over the demonstrations before the first round."""
    imitation_learning_rate: float = 1e-3
    demonstration_weight: float = 0.1
    """Weight of cloning the demonstrations beside every later update; 0 turns it off."""


class GateTest(StrEnum):
    """How candidate and live model are compared on the same held-out turns."""

    MCNEMAR = "mcnemar"
    """Exact, for turns independent of each other."""
    BOOTSTRAP = "bootstrap"
    """Draws whole episodes, whose turns are not independent; wants 20 episodes and more."""
    DROP = "drop"
    """No test: the fall that was seen, chance and all."""


class GateBurden(StrEnum):
    """What must be shown before a candidate is refused, or before it goes live."""

    HARM = "harm"
    """Refused only where it is shown to be worse by more than the margin."""
    WORTH = "worth"
    """As harm; and live only where it is also shown that the past as a whole is safe, or that
    fresh turns are won. Too few turns of either are not asked."""
    SAFETY = "safety"
    """Live only where it is shown, for each experience, not to be worse by the margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """May a freshly trained world model go live?"""

    enabled: bool = True
    test: GateTest = GateTest.MCNEMAR
    burden: GateBurden = GateBurden.WORTH
    margin: float = 0.02
    """A true fall of exact match, on any past experience, that is put up with."""
    loss_margin: float = 0.1
    """A true rise of the loss per held-out turn, in nats, that is put up with: what noise does to
    a model shows in its doubts long before it shows in its mistakes."""
    level: float = 0.05
    """Chance of deciding wrongly against the hypothesis under test, over all experiences."""
    recheck: bool = True
    """Ask again on the held-out episodes of this very round, by which no earlier candidate was
    chosen."""
    holdout_fraction: float = 0.1
    """Share of each round's real episodes kept out of training, for ever, for this check."""
    max_bytes: int = 256 * 2**10
    """Bytes of held-out episodes kept at most, shared equally by the experiences."""
    min_turns: int = 50
    """An experience with fewer held-out turns is judged only as a part of the whole past; where
    that has fewer too, the check abstains."""
    keep_refused: int = 1
    """Refused models kept in the folder of the run, newest first; of all, the verdict is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldModelLearnerConfig:
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    first_epochs: float = 8.0
    """Passes over the real experience of the first round, and of the first of each experience."""
    epochs: float = 4.0
    """Passes over each later round's fresh experience."""
    replay_ratio: float = 0.5
    """Share of replayed turns in each later update, in [0, 1)."""
    frozen_after_first: bool = False
    """Never update after the first round: the baseline without continual learning."""
    gate: GateConfig = field(default_factory=GateConfig)
    regularizers: list[PluginConfig] = field(default_factory=list[PluginConfig])
    """Guards against forgetting beside replay: `lwf`, `l2`, `ewc`, `averaging`,
    `lora_per_experience`, or `package.module:Name`. They nest, the first outermost."""


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
class ImaginationConfig:
    episodes_per_round: int = 512
    """Dreams in each round; 0 turns imagination off."""
    batches_per_round: int = 4
    """The round's dreams come in this many batches, the policy learning after each."""
    group_size: int = 8
    """Dreams from each start."""
    balance_tasks: bool = False
    """Draw starts evenly over experiences, or without a stream over families of tasks, instead of
    as the buffer holds them."""
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
