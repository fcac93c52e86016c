"""Commands that should not work: what a model of the world must have seen refused.

A world model that has seen only what works believes everything, and a policy that is trained in it
learns to exploit that. The commands here are well formed and wrong: they have the shapes of the
world's own commands and the words of this episode, put together in ways that the world is not
likely to carry out. Nothing is known of any world in particular, and none has to list its commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from agents.advantages import check_fraction
from dyna.seeding import generator
from dyna.types import Action, Context

_WORD = re.compile(r"\w+")
_CONTENT = re.compile(r"[^\W\d_][\w'-]{2,}")
_MAX_TEXT = 4000
"""Characters of an observation that are searched for words."""
_MAX_SHAPES = 64
_NUM_TRIES = 8
_GENERIC = ("take thing", "open thing", "go to thing", "use thing on thing", "examine thing")
"""Shapes for a world of which not one command is known yet; `thing` gives way to a word of it."""
_NO_WORDS = ("nothing", "somewhere", "everything")


class InvalidPolicy:
    """Says mostly commands that should not work, each made from the episode so far.

    A share `invalid` of the turns is wrong on purpose. In the others it takes any admissible
    command, or the expert's where the world lists none, so that mistakes are made in more places
    than the start; without either, every turn is wrong.
    """

    def __init__(
        self, *, expert: Callable[[Context], str] | None = None, invalid: float = 0.7
    ) -> None:
        check_fraction("invalid policy invalid", value=invalid)
        self.version = 0
        self._expert = expert
        self._invalid = invalid

    async def act(self, context: Context) -> Action:
        rng = generator(context.seed, "invalid_policy")
        works = rng.random() >= self._invalid
        if works and context.admissible:
            return Action(command=context.admissible[int(rng.integers(len(context.admissible)))])
        right = self._expert(context) if self._expert is not None else ""
        if works and right:
            return Action(command=right)
        return Action(command=invalid_command(context, right=right))


def invalid_command(context: Context, *, right: str = "") -> str:
    """A command that is well formed and most likely impossible; never one of those listed now.

    `right` is what an expert would say here: another shape to learn from, and never the answer.
    All chance comes from `context.seed`.
    """
    rng = generator(context.seed, "invalid_command")
    shapes = _shapes(context, right=right, rng=rng)
    words = _words(context)
    allowed = {command.casefold().strip() for command in (*(context.admissible or ()), right)}
    for _ in range(_NUM_TRIES):
        command = _spoiled(_pick(shapes, rng=rng), shapes=shapes, words=words, rng=rng)
        if command and command.casefold() not in allowed:
            return command
    return f"{_pick(words, rng=rng)} {_pick(words, rng=rng)} {_pick(shapes, rng=rng)}"


def earlier_command(context: Context, *, right: str) -> str:
    """Something that was done before in this episode, or else an invalid command.

    For the noise of a world that lists no commands: it may work again, or no longer.
    """
    done = [
        turn.action.command
        for turn in context.turns[: context.length]
        if turn.outcome.valid is not False and turn.action.command
    ]
    if not done:
        return invalid_command(context, right=right)
    return _pick(done, rng=generator(context.seed, "earlier"))


def _shapes(context: Context, *, right: str, rng: np.random.Generator) -> list[str]:
    """Commands of this world: listed now, listed at the start, carried out before, the expert's."""
    listed = [*(context.admissible or ()), *(context.start.admissible or ())]
    if len(listed) > _MAX_SHAPES:
        chosen = rng.choice(len(listed), size=_MAX_SHAPES, replace=False)
        listed = [listed[index] for index in chosen]
    done = [
        turn.action.command
        for turn in context.turns[: context.length][-_MAX_SHAPES:]
        if turn.outcome.valid is not False
    ]
    known = [command.strip() for command in (*listed, *done, right) if command.strip()]
    return list(dict.fromkeys(known)) or list(_GENERIC)


def _words(context: Context) -> list[str]:
    text = f"{context.start.observation[-_MAX_TEXT:]}\n{context.last_observation[:_MAX_TEXT]}"
    return list(dict.fromkeys(_CONTENT.findall(text))) or list(_NO_WORDS)


def _spoiled(
    shape: str, *, shapes: Sequence[str], words: Sequence[str], rng: np.random.Generator
) -> str:
    """One mistake in one command; empty where this kind of mistake cannot be made in it."""
    spans = [match.span() for match in _WORD.finditer(shape)]
    if not spans:
        return ""
    kind = int(rng.integers(5))
    if kind == 0:  # the beginning of this one with the end of another
        other = _pick(shapes, rng=rng)
        return f"{shape[: spans[0][1]]}{other[_end_of_verb(other) :]}".strip()
    if kind == 1:  # a verb that is none
        return _replaced(shape, span=spans[0], word=_pick(words, rng=rng))
    if len(spans) == 1:
        return f"{shape} {_pick(words, rng=rng)}"
    if kind == 2:  # a thing that is not there, by its number
        numbers = [span for span in spans if shape[slice(*span)].isdecimal()]
        if not numbers:
            return ""
        span = numbers[int(rng.integers(len(numbers)))]
        number = int(shape[slice(*span)][-6:]) + int(rng.integers(3, 90))
        return _replaced(shape, span=span, word=str(number))
    if kind == 3:  # half a command
        return shape[: spans[-1][0]].strip()
    span = spans[1 + int(rng.integers(len(spans) - 1))]
    return _replaced(shape, span=span, word=_pick(words, rng=rng))


def _end_of_verb(command: str) -> int:
    match = _WORD.search(command)
    return match.end() if match else 0


def _replaced(shape: str, *, span: tuple[int, int], word: str) -> str:
    return f"{shape[: span[0]]}{word}{shape[span[1] :]}".strip()


def _pick(choices: Sequence[str], *, rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


__all__ = ["InvalidPolicy", "earlier_command", "invalid_command"]
