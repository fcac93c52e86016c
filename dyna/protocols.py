"""The seams: what a plug-in must be able to do. Inherit nothing; `dyna.testing` checks it.

Whatever talks to a world or a model is `async`, so that many conversations share one engine.
Learners and buffers are plain calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from dyna.types import (
    Action,
    Context,
    Credit,
    Metrics,
    Outcome,
    SoftTargets,
    Start,
    Task,
    TrainingSample,
    Trajectory,
    TrajectoryGroup,
)

if TYPE_CHECKING:
    from dyna.training.penalties import Penalty
    from dyna.training.trainer import TokenTrainer


@runtime_checkable
class Env(Protocol):
    """One episode at a time of a world, real or imagined."""

    async def reset(self, task: Task) -> Start: ...

    async def step(self, action: Action) -> Outcome:
        """Answer one action. After an outcome with `stop` set, only `reset` may follow."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class World(Protocol):
    """Where tasks come from and where they are played."""

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        """`num` tasks of a split from position `offset` on, the same ones at every call.

        Raises `ValueError` for an unknown split, or when the split has too few tasks.
        """
        ...

    def make(self) -> Env: ...


@runtime_checkable
class HasSplits(Protocol):
    """A world that can say what its splits are, and which tasks are one and the same game."""

    @property
    def splits(self) -> Mapping[str, int | None]:
        """The number of tasks of each split; None where tasks are made without end."""
        ...

    def fingerprint(self, task: Task) -> str:
        """Equal for tasks that are the same game by content, whatever their ids and splits."""
        ...


@runtime_checkable
class HasCanonicalText(Protocol):
    """A world that may list the same things in another order at the next visit."""

    def canonical(self, text: str) -> str:
        """`text` with all that the world leaves to chance put in a fixed order."""
        ...


@runtime_checkable
class HasClone(Protocol):
    """An env that can be copied in the middle of an episode, cheaper than by playing it again."""

    async def clone(self) -> Env:
        """Another env at this very point; the two go on apart."""
        ...


@runtime_checkable
class Closeable(Protocol):
    """A world that holds something outside this process: a JVM, a server, files."""

    def close(self) -> None:
        """Let go of it; calling it twice is fine. Envs made before answer no more."""
        ...


@runtime_checkable
class HasExpert(Protocol):
    """A world that can show how it is done."""

    @property
    def expert(self) -> Callable[[Context], str]:
        """The command that a scripted expert would give."""
        ...


@runtime_checkable
class HasExplorer(Protocol):
    """A world that knows which mistakes are worth making."""

    @property
    def explorer(self) -> Callable[[Context], str]:
        """A command that teaches a model of the world: plausible, often wrong, never the same."""
        ...


@runtime_checkable
class HasVariations(Protocol):
    """A world that can pose other tasks in a place it has shown, without being touched."""

    def vary(self, task: Task, start: Start, *, seed: int) -> tuple[Task, Start] | None:
        """Another task from the same start, for dreams alone; None where there is none."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Chooses actions. `version` grows with every change of its weights."""

    version: int

    async def act(self, context: Context) -> Action: ...


@runtime_checkable
class WorldModel(Protocol):
    """Predicts what the world would answer. `version` grows with every change of its weights."""

    @property
    def version(self) -> int: ...

    async def predict(self, context: Context, action: Action) -> Outcome:
        """Never raises on garbage: a prediction that makes no sense has `stop=UNPARSEABLE`."""
        ...


@runtime_checkable
class ReplayBuffer(Protocol):
    """Remembers real trajectories within a fixed size. What is sampled is what was stored."""

    def add(self, trajectory: Trajectory) -> None: ...

    def sample(self, num_turns: int) -> list[Trajectory]:
        """Whole trajectories, with replacement, of at least `num_turns` turns together."""
        ...

    def __len__(self) -> int:
        """Transitions held."""
        ...


@runtime_checkable
class HasExperiences(Protocol):
    """A buffer or learner that tells the experiences of a stream apart."""

    def begin_experience(self, name: str) -> None:
        """From now on what comes belongs to the experience `name`."""
        ...


@runtime_checkable
class HasMemory(Protocol):
    """A buffer or learner that keeps some of the past."""

    @property
    def num_bytes(self) -> int:
        """Bytes of real experience that it holds."""
        ...


@runtime_checkable
class HasScores(Protocol):
    """A buffer that keeps or draws by what the model makes of what it holds."""

    def note_scores(self, scores: Mapping[str, float]) -> None:
        """By trajectory id, the model's mean loss in nats per token; ids not held are ignored."""
        ...


@runtime_checkable
class HasGradients(Protocol):
    """A buffer that keeps what pulls the model in different directions."""

    sketch_size: int
    """Numbers in a sketch."""

    def note_gradients(self, sketches: Mapping[str, Sequence[float]]) -> None:
        """By trajectory id, a random projection of the gradient of the model's loss on it: angles
        between sketches are about those between gradients. Ids not held are ignored."""
        ...


@runtime_checkable
class HasTargets(Protocol):
    """A buffer that keeps what the model once predicted, for it to stay close to."""

    top_k: int
    """Tokens wanted at each place of an answer."""
    alpha: float
    """Weight of the divergence from stored predictions on what is replayed."""
    beta: float
    """Weight of the cross entropy on what is replayed, beside that on what is fresh."""

    def note_targets(self, targets: Mapping[str, SoftTargets]) -> None:
        """By trajectory id, what the model predicts now; ids not held, or that have theirs, are
        ignored."""
        ...

    def targets(self, id: str) -> SoftTargets | None:
        """What was noted; None where nothing was."""
        ...


@runtime_checkable
class WorldModelLearner(Protocol):
    """Improves a world model from real experience."""

    def update(self, fresh: Sequence[Trajectory], replay: ReplayBuffer) -> Metrics: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUpdate:
    """One update of a language world model: what its regularizers see, and what they may change."""

    trainer: TokenTrainer
    """Holds the live weights when an update begins, the candidate's when it ends."""
    fresh: tuple[TrainingSample, ...]
    """Of the new episodes, each once, whatever the number of passes."""
    replayed: tuple[TrainingSample, ...]
    """Of old episodes, for all passes together."""
    penalties: tuple[Penalty, ...] = ()
    """What pulls on the weights at every optimizer step."""
    number: int
    """Updates before this one."""
    seed: int
    """Of this update, for whatever is drawn."""


@runtime_checkable
class Regularizer(Protocol):
    """Keeps an update from undoing earlier ones; several nest as they are listed, first outermost.

    One that keeps something between updates is `Stateful` too.
    """

    @property
    def num_bytes(self) -> int:
        """What it holds of the past at this moment, between updates and within one."""
        ...

    def begin(self, update: ModelUpdate) -> ModelUpdate:
        """Before training: the update, with other samples or more penalties."""
        ...

    def end(self, update: ModelUpdate) -> Metrics:
        """After training, before the gate: may change the candidate's weights."""
        ...


@runtime_checkable
class HasVerdicts(Protocol):
    """A regularizer that must know whether what it took part in went live."""

    def note_verdict(self, accepted: bool) -> None:
        """Of the update that ended last; False: the trainer has the weights of before it again."""
        ...


@runtime_checkable
class PolicyLearner(Protocol):
    """Improves a policy from experience, real and imagined."""

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        """The start: learn from what an expert did, before any experience of its own."""
        ...

    def update(self, groups: Sequence[TrajectoryGroup]) -> Metrics: ...


@runtime_checkable
class KeepsWeights(Protocol):
    """A policy learner that can go back to what it was."""

    def keep_weights(self) -> None:
        """Hold on to a copy of the weights of this moment, in the place of the last one."""

    def restore_weights(self) -> None:
        """Go back to the copy; raises `ValueError` where there is none."""


@runtime_checkable
class Algorithm(Protocol):
    """Credit assignment: says what each trajectory's actions are worth. Pure, no weights."""

    def __call__(self, groups: Sequence[TrajectoryGroup]) -> list[Credit]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One continuation to sample."""

    conversation_id: str
    """Requests of one conversation extend each other; the engine re-reads only what is new."""
    prompt_ids: tuple[int, ...]  # [P] the whole transcript so far
    max_new_tokens: int
    stop_ids: tuple[int, ...]
    """Any of these ends the continuation and is its last token."""
    temperature: float = 1.0
    """0 is greedy."""
    seed: int = 0
    choices: tuple[tuple[int, ...], ...] = ()
    """If given, the continuation is exactly one of these token strings (stop token included)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the engine sampled.

    Example: `Completion(token_ids=(5, 9, 2), log_probs=(-0.1, -0.7, -0.0), finished=True,
    weights_version=4)`
    """

    token_ids: tuple[int, ...]  # [A] with the stop token, if one was reached
    log_probs: tuple[float, ...]  # [A] at temperature 1, before any constraint
    finished: bool
    """False when `max_new_tokens` or the context window ended it."""
    weights_version: int = 0


class EngineLostError(RuntimeError):
    """No engine answers any more: the fault of the machines, not of a policy or a world."""


@runtime_checkable
class Engine(Protocol):
    """Generates text, many conversations at once."""

    weights_version: int

    async def generate(self, request: GenerationRequest) -> Completion: ...

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """Swap weights in place; what was read under the old ones is dropped."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """Can be saved to a folder and restored to the last bit. No pickle."""

    def save(self, folder: str) -> None: ...

    def load(self, folder: str) -> None: ...


__all__ = [
    "Algorithm",
    "Closeable",
    "Completion",
    "Engine",
    "EngineLostError",
    "Env",
    "GenerationRequest",
    "HasCanonicalText",
    "HasClone",
    "HasExperiences",
    "HasExpert",
    "HasExplorer",
    "HasGradients",
    "HasMemory",
    "HasScores",
    "HasSplits",
    "HasTargets",
    "HasVariations",
    "HasVerdicts",
    "KeepsWeights",
    "ModelUpdate",
    "Policy",
    "PolicyLearner",
    "Regularizer",
    "ReplayBuffer",
    "Stateful",
    "World",
    "WorldModel",
    "WorldModelLearner",
]
