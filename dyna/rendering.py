"""Transcripts to token ids: the one door between messages and tokens.

One transcript has two views. To the agent, observations are the other speaker and actions its own;
to the world model the roles are swapped. What one view trains, the other only reads:

    agent's view    user: start        assistant: action*   user: observation     ...
    model's view    system: start      user: command        assistant: answer*    ...   (* trained)

A transcript is rendered message by message: the fixed text that a chat template puts around them
is found once, and each message is encoded by itself. So a longer transcript always begins with
the tokens of a shorter one, and tokens that were sampled are kept as they are.
"""

# transformers leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from dyna.grammar import write_answer
from dyna.types import Action, Context, Credit, Outcome, Start, TrainingSample, Trajectory, Turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MAX_CACHED_TEXTS = 50_000


class ContextOverflow(ValueError):
    """The transcript leaves no room in the model's context window."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """The tokens a chat template puts around messages that alternate user and assistant."""

    opening: tuple[int, ...]
    """Before the first message."""
    to_user: tuple[int, ...]
    """From the system message to the first user message; empty without a system message."""
    to_assistant: tuple[int, ...]
    """From a user message to the assistant's."""
    stop: int
    """Ends an assistant message."""
    after_stop: tuple[int, ...]
    """From there to the next user message."""


class Renderer:
    """Renders contexts, actions and answers with one tokenizer and its chat template.

    Raises `ValueError` if the tokenizer has no chat template, or one that rewrites earlier
    messages when later ones arrive.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_context: int,
        system_prompt: str = "",
    ) -> None:
        self.tokenizer = tokenizer
        self.max_context = max_context
        self.system_prompt = system_prompt
        self._cache: dict[str, tuple[int, ...]] = {}
        self._agent_frame = _find_frame(tokenizer, has_system=bool(system_prompt))
        self._model_frame = _find_frame(tokenizer, has_system=True)

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return tuple({self._agent_frame.stop, self._model_frame.stop})

    def encode(self, text: str) -> tuple[int, ...]:
        """The tokens of a message. A special token spelled out in it is text like any other, so
        that nobody can end a turn, or begin another's, by what they say."""
        ids = self._cache.get(text)
        if ids is None:
            if len(self._cache) >= _MAX_CACHED_TEXTS:
                self._cache.clear()
            # What no UTF-8 can hold, half a surrogate pair, becomes a question mark.
            sound = text.encode("utf-8", "replace").decode("utf-8")
            ids = tuple(
                self.tokenizer.encode(sound, add_special_tokens=False, split_special_tokens=True)
            )
            self._cache[text] = ids
        return ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a message, without its stop token."""
        ids = list(token_ids)
        if ids and ids[-1] in self.stop_ids:
            ids.pop()
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))

    def encode_action(self, text: str) -> tuple[int, ...]:
        return (*self.encode(text), self._agent_frame.stop)

    def encode_answer(self, outcome: Outcome) -> tuple[int, ...]:
        return (*self.encode(write_answer(outcome)), self._model_frame.stop)

    def action_prompt(self, context: Context) -> tuple[int, ...]:
        """The agent's view up to where it speaks. Raises `ContextOverflow`."""
        parts = self._agent_opening(context.start)
        for turn in context.turns[: context.length]:
            parts += self._agent_turn(turn)
        return self._flatten(parts)

    def answer_prompt(
        self, context: Context, action: Action, *, use_hidden_state: bool
    ) -> tuple[int, ...]:
        """The model's view up to where it answers `action`. Raises `ContextOverflow`."""
        frame = self._model_frame
        parts = self._model_opening(context.start, use_hidden_state=use_hidden_state)
        for turn in context.turns[: context.length]:
            parts += [self.encode(turn.action.command), frame.to_assistant]
            parts += [*self._answer(turn.outcome), frame.after_stop]
        return self._flatten([*parts, self.encode(action.command), frame.to_assistant])

    def policy_sample(self, credit: Credit) -> TrainingSample | None:
        """The agent's view with each action's credit; None when it does not fit."""
        trajectory, builder = credit.trajectory, _SampleBuilder()
        builder.read(chain.from_iterable(self._agent_opening(trajectory.start)))
        for index, turn in enumerate(trajectory.turns):
            tokens = self._action(turn.action)
            ce = credit.ce[index] if credit.ce else 0.0
            # Before the branch point someone else acted: there is no advantage, not one of zero.
            is_new = index >= trajectory.branch_point
            rl = credit.rl[index] if credit.rl and is_new else None
            if ce or rl is not None:
                builder.act(tokens, log_probs=turn.action.log_probs, ce=ce, rl=rl, kl=credit.ref_kl)
            else:
                builder.read(tokens)
            builder.read(chain.from_iterable(self._agent_turn(turn)[1:]))
        return builder.build(max_tokens=self.max_context)

    def model_sample(
        self, trajectory: Trajectory, *, use_hidden_state: bool, first_turn: int = 0
    ) -> TrainingSample | None:
        """The model's view, trained on answers from `first_turn` on; None when it does not fit."""
        frame, builder = self._model_frame, _SampleBuilder()
        opening = self._model_opening(trajectory.start, use_hidden_state=use_hidden_state)
        builder.read(chain.from_iterable(opening))
        for index, turn in enumerate(trajectory.turns):
            builder.read(chain(self.encode(turn.action.command), frame.to_assistant))
            answer = self.encode_answer(turn.outcome)
            if index >= first_turn:
                builder.act(answer, log_probs=(), ce=1.0, rl=None, kl=0.0)
            else:
                builder.read(answer)
            builder.read(frame.after_stop)
        return builder.build(max_tokens=self.max_context)

    def _agent_opening(self, start: Start) -> list[tuple[int, ...]]:
        frame = self._agent_frame
        system = [self.encode(self.system_prompt), frame.to_user] if self.system_prompt else []
        return [frame.opening, *system, self.encode(start.observation), frame.to_assistant]

    def _agent_turn(self, turn: Turn) -> list[tuple[int, ...]]:
        """The action first, alone; then all that follows it up to the next action."""
        frame = self._agent_frame
        action = self._action(turn.action)
        closing = () if action and action[-1] == frame.stop else (frame.stop,)
        observation = self.encode(turn.outcome.observation)
        return [action, closing, frame.after_stop, observation, frame.to_assistant]

    def _model_opening(self, start: Start, *, use_hidden_state: bool) -> list[tuple[int, ...]]:
        frame = self._model_frame
        hidden = (start.hidden_state or "") if use_hidden_state else ""
        text = f"{hidden}\n{start.observation}" if hidden else start.observation
        return [frame.opening, self.encode(text), frame.to_user]

    def _action(self, action: Action) -> tuple[int, ...]:
        return action.token_ids or self.encode_action(action.said)

    def _answer(self, outcome: Outcome) -> list[tuple[int, ...]]:
        sampled = outcome.token_ids
        if not sampled:
            return [self.encode_answer(outcome)]
        return [sampled, () if sampled[-1] == self._model_frame.stop else (self._model_frame.stop,)]

    def _flatten(self, parts: list[tuple[int, ...]]) -> tuple[int, ...]:
        tokens = tuple(chain.from_iterable(parts))
        if len(tokens) >= self.max_context:
            raise ContextOverflow(
                f"a transcript of {len(tokens)} tokens leaves no room in max_context="
                f"{self.max_context}; raise max_context or shorten the episode"
            )
        return tokens


class _SampleBuilder:
    """Grows a `TrainingSample` token by token, all streams in step."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._ce: list[float] = []
        self._rl: list[float] = []
        self._rl_mask: list[float] = []
        self._old: list[float] = []
        self._kl: list[float] = []

    def read(self, tokens: chain[int] | Sequence[int]) -> None:
        """Tokens that are context only."""
        self._extend(tuple(tokens), log_probs=(), ce=0.0, rl=None, kl=0.0)

    def act(
        self,
        tokens: Sequence[int],
        *,
        log_probs: Sequence[float],
        ce: float,
        rl: float | None,
        kl: float,
    ) -> None:
        """Tokens that are trained."""
        if rl is not None and len(log_probs) != len(tokens):
            raise ValueError(
                f"an action of {len(tokens)} tokens has {len(log_probs)} log-probs; only actions "
                "that an engine sampled can carry an advantage"
            )
        self._extend(tokens, log_probs=log_probs, ce=ce, rl=rl, kl=kl)

    def _extend(
        self,
        tokens: Sequence[int],
        *,
        log_probs: Sequence[float],
        ce: float,
        rl: float | None,
        kl: float,
    ) -> None:
        count = len(tokens)
        self._tokens += tokens
        self._ce += [ce] * count
        self._rl += [rl or 0.0] * count
        self._rl_mask += [0.0 if rl is None else 1.0] * count
        self._old += log_probs if rl is not None else [0.0] * count
        self._kl += [kl] * count

    def build(self, *, max_tokens: int) -> TrainingSample | None:
        if len(self._tokens) > max_tokens:
            return None
        return TrainingSample(
            token_ids=tuple(self._tokens),
            ce=tuple(self._ce) if any(self._ce) else (),
            rl=tuple(self._rl) if any(self._rl_mask) else (),
            rl_mask=tuple(self._rl_mask) if any(self._rl_mask) else (),
            old_log_probs=tuple(self._old) if any(self._rl_mask) else (),
            ref_kl=tuple(self._kl) if any(self._kl) else (),
        )


def _find_frame(tokenizer: PreTrainedTokenizerBase, *, has_system: bool) -> _Frame:
    """Render placeholders with the chat template and read off what stands between them."""
    if tokenizer.chat_template is None:
        raise ValueError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no chat template; "
            "set tokenizer.chat_template, or use the instruct version of the model"
        )
    roles = [*(["system"] if has_system else []), *["user", "assistant"] * 3]
    slots = [f"PLACEHOLDER{index}PLACEHOLDER" for index in range(len(roles))]
    messages = [{"role": r, "content": s} for r, s in zip(roles, slots, strict=True)]
    text = str(tokenizer.apply_chat_template(messages, tokenize=False))
    gaps: list[str] = []
    for slot in slots:
        before, found, text = text.partition(slot)
        if not found:
            raise ValueError(f"the chat template of {tokenizer.name_or_path!r} hides messages")
        gaps.append(before)
    first = 1 if has_system else 0
    to_assistant, to_user = gaps[first + 1 :: 2], gaps[first + 2 :: 2]
    if len(set(to_assistant)) != 1 or len(set(to_user)) != 1:
        raise ValueError(
            f"the chat template of {tokenizer.name_or_path!r} renders the same message differently "
            "by its place; a transcript must not change when it grows"
        )
    ids = [tuple(tokenizer.encode(gap, add_special_tokens=False)) for gap in gaps]
    turn_end = ids[first + 2]
    return _Frame(
        opening=ids[0],
        to_user=ids[1] if has_system else (),
        to_assistant=ids[first + 1],
        stop=turn_end[0],
        after_stop=turn_end[1:],
    )
