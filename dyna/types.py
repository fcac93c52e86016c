"""The nouns: every value that crosses a module boundary, in the order a sample meets them.

    Task -> Start -> (Action -> Outcome) = Turn -> Trajectory -> TrajectoryGroup
         -> Credit -> TrainingSample

A trajectory stores every message once. What a policy or a world model sees at turn t is a
`Context`, a view of the trajectory and never a copy. The standard library is all this file needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

Metrics: TypeAlias = dict[str, float]
"""Flat, namespaced numbers, such as `model/em`; the namespaces are `dyna.tracking.NAMESPACES`."""


class Source(StrEnum):
    """Where an experience comes from; part of the data, so that a dream never passes for real."""

    REAL = "real"
    IMAGINED = "imagined"
    REHEARSED = "rehearsed"
    """A graded dream of an old task, the only imagined data a model's buffer may hold."""


class StopReason(StrEnum):
    """Why an episode ended."""

    TERMINATED = "terminated"
    """The world ended it: the task was done, or failed for good."""
    STEP_LIMIT = "step_limit"
    """The task's own limit on turns."""
    HORIZON = "horizon"
    """A dream reached the number of turns it was allowed; the task had not ended."""
    UNTRUSTED = "untrusted"
    """The world model doubted its own prediction."""
    UNPARSEABLE = "unparseable"
    """The world model's text was no prediction, or broke a rule checked in code."""
    CONTEXT_FULL = "context_full"
    """The transcript no longer fits the model's context window."""
    POLICY_ERROR = "policy_error"
    ENV_ERROR = "env_error"
    ENV_TIMEOUT = "env_timeout"
    LOST = "lost"
    """The process that played it died."""

    @property
    def is_failure(self) -> bool:
        """Something broke: the episode is recorded and counted, never learned from or scored."""
        return self in _FAILURES

    @property
    def is_truncation(self) -> bool:
        """The episode was cut; the task might have gone on."""
        return self is not StopReason.TERMINATED


_FAILURES = frozenset(
    {StopReason.POLICY_ERROR, StopReason.ENV_ERROR, StopReason.ENV_TIMEOUT, StopReason.LOST}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to do in one world. Equal ids are the same task, word for word.

    Example: `Task(id="household/pick_and_place/train/17", world="household",
    family="pick_and_place", split="train", seed=17)`
    """

    id: str
    world: str
    family: str
    """The kind of task, the unit over which balance and forgetting are measured."""
    split: str
    """`train`, `valid_seen`, `valid_unseen`, or a name of the world's own."""
    seed: int = 0
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What else the world needs to build it; JSON values only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a reset says."""

    observation: str
    """The first message to the agent: what it sees, and its goal."""
    hidden_state: str | None = None
    """The world's privileged state in words, for the world model alone; None if it has none."""
    admissible: tuple[str, ...] | None = None
    """The commands possible now; None where the world cannot list them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What the policy said, and the command in it.

    Example: `Action(command="go to shelf 1", text="Thought: look.\\nAction: go to shelf 1",
    token_ids=(5, 9, 2), log_probs=(-0.1, -0.7, -0.01), policy_version=3)`
    """

    command: str
    """What reaches the world; the world model sees only this."""
    text: str = ""
    """All the policy said, thoughts included; empty means the command itself."""
    token_ids: tuple[int, ...] = ()  # [A]
    """The sampled tokens with their end token; kept for training, never re-tokenized."""
    log_probs: tuple[float, ...] = ()  # [A]
    """Natural-log probability of each token under the sampling policy, at temperature 1."""
    policy_version: int = 0

    @property
    def said(self) -> str:
        return self.text or self.command


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The world's answer to one action, whether the world is real or imagined.

    Example: `Outcome(observation="You move the mug 1 to the shelf 1.", reward=1.0,
    terminated=True, success=True)`
    """

    observation: str
    reward: float = 0.0
    terminated: bool = False
    success: bool = False
    """The task is done. Apart from reward, which a world may shape."""
    stop: StopReason | None = None
    """Set when the episode ends here: TERMINATED, or what truncated it."""
    valid: bool | None = None
    """Whether the world carried the action out; None where it does not say."""
    admissible: tuple[str, ...] | None = None
    confidence: float = 1.0
    """In [0, 1]. A real world is sure; a model says how sure it was of this answer."""
    token_ids: tuple[int, ...] = ()  # [O]
    """The model's sampled tokens; empty for a real world."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    action: Action
    outcome: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A view of an episode up to some turn: all that a policy or a world model is given."""

    task: Task
    start: Start
    turns: Sequence[Turn]
    """The episode's own list; only the first `length` turns belong to this view."""
    length: int
    episode_id: str = ""
    """Names the conversation, so that an engine can keep what it has read of it."""
    seed: int = 0
    """For whatever is sampled at this turn; another one at every turn of every episode."""
    greedy: bool = False
    """Evaluation: take the most likely action instead of sampling one."""

    @property
    def last_outcome(self) -> Outcome | None:
        """None before the first turn."""
        return self.turns[self.length - 1].outcome if self.length else None

    @property
    def last_observation(self) -> str:
        outcome = self.last_outcome
        return outcome.observation if outcome else self.start.observation

    @property
    def admissible(self) -> tuple[str, ...] | None:
        outcome = self.last_outcome
        return outcome.admissible if outcome else self.start.admissible


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One episode, real or imagined, whole.

    Example: a two-turn dream that branches after one real turn has `source=IMAGINED`,
    `branch_point=1` and `turns` of length 2, the first of them real.
    """

    id: str
    task: Task
    start: Start
    turns: tuple[Turn, ...]  # [N]
    stop: StopReason
    source: Source = Source.REAL
    branch_point: int = 0
    """How many leading turns were real; 0 for a dream from a real start."""
    policy_version: int = 0
    model_version: int | None = None
    """The world model that answered; None for a real world."""
    round: int = 0
    group_id: str = ""
    """Shared by the members of one `TrajectoryGroup`."""
    behavior: str = "policy"
    """Who acted: `policy`, `expert`, `random`, or a mixture's name."""
    error: str = ""
    """What broke, for a failure; empty otherwise."""

    @property
    def total_reward(self) -> float:
        return float(sum(turn.outcome.reward for turn in self.turns))

    @property
    def success(self) -> bool:
        return bool(self.turns) and self.turns[-1].outcome.success

    @property
    def new_turns(self) -> tuple[Turn, ...]:
        """The turns this episode added: those after the branch point."""
        return self.turns[self.branch_point :]

    def context(self, length: int) -> Context:
        """The view before turn `length`; `context(len(turns))` is the whole episode."""
        return Context(
            task=self.task, start=self.start, turns=self.turns, length=length, episode_id=self.id
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryGroup:
    """Episodes of one task from one start, compared with one another. Whole or not at all."""

    task: Task
    trajectories: tuple[Trajectory, ...]  # [G]

    @property
    def is_whole(self) -> bool:
        return bool(self.trajectories) and not any(t.stop.is_failure for t in self.trajectories)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What an algorithm says of one trajectory: how much each turn's action is worth.

    Example: GRPO on a won episode of 3 turns in a group that mostly lost:
    `Credit(trajectory=t, rl=(1.2, 1.2, 1.2))`; cloning it: `Credit(trajectory=t, ce=(1, 1, 1))`.
    """

    trajectory: Trajectory
    rl: tuple[float, ...] = ()  # [N] advantage of each turn; empty means none
    ce: tuple[float, ...] = ()  # [N] cross-entropy weight of each turn; empty means none
    ref_kl: float = 0.0
    """Weight of the KL to the reference model on every action token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftTargets:
    """What a model thought of some tokens: at each of S places its K most likely ones.

    Example: two places, K of 2: `SoftTargets(top_k=2, token_ids=(5, 9, 2, 7),
    log_probs=(-0.1, -2.4, -0.7, -0.8))`
    """

    top_k: int
    """K; what is not among them is one remainder."""
    token_ids: tuple[int, ...]  # [S * K] place by place
    log_probs: tuple[float, ...]  # [S * K]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """Tokens with parallel per-token streams; each stream is normalized by its own weight.

    All streams are as long as `token_ids`; position t speaks of predicting token t from those
    before it, so position 0 is always 0. Example: `token_ids=(7, 5, 9, 2)` with
    `ce=(0, 0, 1, 1)` trains the last two tokens by cross entropy.
    """

    token_ids: tuple[int, ...]  # [T]
    ce: tuple[float, ...] = ()  # [T] weight of cross entropy
    rl: tuple[float, ...] = ()  # [T] advantage where the token was sampled by the policy, else 0
    rl_mask: tuple[float, ...] = ()  # [T] 1 where the policy gradient speaks, even at advantage 0
    old_log_probs: tuple[float, ...] = ()  # [T] log-prob at sampling time, 0 elsewhere
    ref_kl: tuple[float, ...] = ()  # [T] weight of the KL to the reference model
    soft: tuple[float, ...] = ()  # [T] weight of the KL from a stored prediction
    soft_targets: SoftTargets | None = None
    """The stored predictions, one for each token with a `soft` weight."""
