"""A world model that talks messages: a served model told what to do, and shown how by real turns.

Nothing is trained. The system prompt states the grammar of an answer; `num_examples` real turns
from the replay buffer stand beside it and are drawn anew after every round's real experience.
The same examples serve every prediction of a round, so that a server can keep what it has read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dyna.engines.openai import ChatServer, Message, ServerError, ServerSettings
from dyna.files import read_json, write_json
from dyna.grammar import read_answer, write_answer
from dyna.protocols import ReplayBuffer
from dyna.rendering import ContextOverflow
from dyna.seeding import generator
from dyna.types import Action, Context, Metrics, Outcome, Source, StopReason, Trajectory, Turn
from worldmodels.confidence import Confidence, confidence

_FORMAT = "dyna-chat-world-model-1"
_PROMPT = """\
You simulate a world that answers in text. The user sends one command at a time. You answer with \
what the world would say, word for word in its style, and then a verdict in square brackets on the \
same line:
- [reward R] where R is the reward of this command as a number, 0 for most;
- [reward R; done] when the episode ends here;
- [reward R; done; success] when it ends because the task is done.
For example: You move the mug 1 to the shelf 1. [reward 1; done; success]
A command that is impossible or makes no sense changes nothing and has [reward 0]. Say nothing \
else: no advice, no explanation."""
_HISTORY = 2
"""Turns before an example that are shown with it."""
_DRAWN_PER_EXAMPLE = 16
"""Turns looked at for each one chosen, so that rare outcomes are among them."""
_MAX_FAILURES = 10
"""Predictions in a row without an answer after which the server counts as gone."""


class ChatWorldModel:
    """Predicts with what a served model says.

    Example: `ChatWorldModel({"model_name": "gpt-4o-mini"}, num_examples=6)`; 0 is zero-shot.

    Its confidence is 1 unless `ask_log_probs`, which not every server can answer. Where the server
    gives no answer, the dream has failed, ENV_TIMEOUT; after ten such in a row the run ends.
    """

    def __init__(
        self,
        server: Mapping[str, Any] | ServerSettings,
        *,
        use_hidden_state: bool = True,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        num_examples: int = 0,
        system_prompt: str = _PROMPT,
        ask_log_probs: bool = False,
        confidence_kind: str = Confidence.MIN,
        check: bool = True,
    ) -> None:
        if num_examples < 0:
            raise ValueError(f"world_model.params.num_examples must be >= 0, got {num_examples}")
        self._use_hidden_state = use_hidden_state
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature
        self.num_examples = num_examples
        self.weights_version = 0
        self._system_prompt = system_prompt
        self._ask_log_probs = ask_log_probs
        self._confidence_kind = Confidence(confidence_kind)
        self._examples: tuple[str, ...] = ()
        self._num_failures = 0
        self._server = ChatServer(server, check=check)

    @property
    def version(self) -> int:
        """Grows with every new choice of examples."""
        return self.weights_version

    async def predict(self, context: Context, action: Action) -> Outcome:
        """The answer to `action`; see `WorldModel`. Raises `ServerError` for a call that no
        waiting helps, and when the server is gone."""
        try:
            reply = await self._server.chat(
                self._messages(context, action),
                max_tokens=self._max_new_tokens,
                temperature=self._temperature,
                seed=context.seed,
                log_probs=self._ask_log_probs,
            )
        except ContextOverflow:
            return Outcome(observation="", stop=StopReason.CONTEXT_FULL, confidence=0.0)
        except ServerError as error:
            self._num_failures += 1
            if not error.is_passing or self._num_failures >= _MAX_FAILURES:
                raise
            return Outcome(observation=str(error), stop=StopReason.ENV_TIMEOUT, confidence=0.0)
        self._num_failures = 0
        sure = confidence(reply.log_probs, kind=self._confidence_kind) if reply.log_probs else 1.0
        if not reply.finished:
            return Outcome(observation=reply.text, stop=StopReason.UNPARSEABLE, confidence=sure)
        outcome = read_answer(reply.text.strip())
        return (
            outcome if outcome.stop is StopReason.UNPARSEABLE else replace(outcome, confidence=sure)
        )

    def weights(self) -> dict[str, Any]:
        """Its examples: what players on other machines need to predict alike."""
        return {"examples": list(self._examples)}

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        self._examples = tuple(map(str, weights["examples"]))
        self.weights_version = version

    def describe(self, trajectory: Trajectory, *, index: int) -> str:
        """A real turn as an example, with the start of its episode and what came just before."""
        before = trajectory.turns[max(0, index - _HISTORY) : index]
        gap = "...\n" if index > len(before) else ""
        lines = "\n".join(
            f"> {turn.action.command}\n{write_answer(turn.outcome)}"
            for turn in (*before, trajectory.turns[index])
        )
        return f"Example of real answers.\n{self._opening(trajectory.context(0))}\n{gap}{lines}"

    def _messages(self, context: Context, action: Action) -> list[Message]:
        parts = [self._system_prompt, *self._examples, self._opening(context)]
        messages: list[Message] = [("system", "\n\n".join(parts))]
        for turn in context.turns[: context.length]:
            messages.append(("user", turn.action.command))
            messages.append(("assistant", write_answer(turn.outcome)))
        return [*messages, ("user", action.command)]

    def _opening(self, context: Context) -> str:
        start = context.start
        told = f"The episode begins. The agent is told:\n{start.observation}"
        if not (self._use_hidden_state and start.hidden_state):
            return told
        return f"The true state of the world, which only you know:\n{start.hidden_state}\n\n{told}"


class ChatWorldModelLearner:
    """Chooses the examples of a `ChatWorldModel`; satisfies `WorldModelLearner` and `Stateful`."""

    def __init__(self, model: ChatWorldModel, *, seed: int = 0) -> None:
        self.model = model
        self._seed = seed

    def update(self, fresh: Sequence[Trajectory], replay: ReplayBuffer) -> Metrics:
        """Choose anew. Raises `ValueError` for episodes that are not real."""
        for trajectory in fresh:
            if trajectory.source is not Source.REAL:
                raise ValueError(
                    f"a world model learns from real episodes, but {trajectory.id!r} is "
                    f"{trajectory.source}"
                )
        model, examples = self.model, list[str]()
        if model.num_examples and len(replay):
            version = model.version + 1
            drawn = replay.sample(model.num_examples * _DRAWN_PER_EXAMPLE)
            chosen = _choose(drawn, num=model.num_examples, seed=self._seed, version=version)
            examples = [model.describe(trajectory, index=index) for trajectory, index in chosen]
            model.load_weights({"examples": examples}, version=version)
        return {"model/examples": float(len(examples)), "model/version": float(model.version)}

    def save(self, folder: str) -> None:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        state = {"format": _FORMAT, "version": self.model.version, **self.model.weights()}
        write_json(path / "chat.json", value=state)

    def load(self, folder: str) -> None:
        """Raises `ValueError` for a file that is of something else."""
        state: dict[str, Any] = read_json(Path(folder) / "chat.json")
        if state.get("format") != _FORMAT:
            raise ValueError(f"{folder!r} holds no chat world model: {state.get('format')!r}")
        self.model.load_weights(state, version=int(state["version"]))


def _choose(
    drawn: Sequence[Trajectory], *, num: int, seed: int, version: int
) -> list[tuple[Trajectory, int]]:
    """`num` different turns, taken in turn from each kind of answer, the rarest kind first."""
    kinds: dict[tuple[bool, bool, bool, bool], list[tuple[Trajectory, int]]] = {}
    seen: set[tuple[str, int]] = set()
    for trajectory in drawn:
        for index, turn in enumerate(trajectory.turns):
            if (trajectory.id, index) not in seen:
                seen.add((trajectory.id, index))
                kinds.setdefault(_kind(turn), []).append((trajectory, index))
    rng = generator(seed, "examples", version)
    queues: list[Iterator[tuple[Trajectory, int]]] = [
        iter([members[int(place)] for place in rng.permutation(len(members))])
        for members in sorted(kinds.values(), key=len)
    ]
    chosen: list[tuple[Trajectory, int]] = []
    while queues and len(chosen) < num:
        queue = queues.pop(0)
        entry = next(queue, None)
        if entry is not None:
            chosen.append(entry)
            queues.append(queue)
    return chosen


def _kind(turn: Turn) -> tuple[bool, bool, bool, bool]:
    outcome = turn.outcome
    return (bool(outcome.reward), outcome.terminated, outcome.success, outcome.valid is False)


__all__ = ["ChatWorldModel", "ChatWorldModelLearner"]
