"""Policies without a model: random, an expert's, an expert's with noise, a recording's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agents.advantages import check_fraction
from agents.invalid import earlier_command, invalid_command
from dyna.seeding import generator
from dyna.types import Action, Context


class RandomPolicy:
    """Takes any admissible command, each as likely.

    Raises `ValueError` where the world does not list its commands.
    """

    def __init__(self) -> None:
        self.version = 0

    async def act(self, context: Context) -> Action:
        return Action(command=_any_admissible(context))


class ExpertPolicy:
    """Does what `expert(context)` says. Example: `ExpertPolicy(lambda context: "look")`"""

    def __init__(self, expert: Callable[[Context], str]) -> None:
        self.version = 0
        self._expert = expert

    async def act(self, context: Context) -> Action:
        return Action(command=self._expert(context))


class ExplorerPolicy(ExpertPolicy):
    """Acts as the world's own explorer does."""

    def __init__(self, explorer: Callable[[Context], str]) -> None:
        super().__init__(explorer)


class NoisyExpertPolicy:
    """An expert that errs: a world model must also see what does not work.

    With probability `noise` it takes any admissible command instead of the expert's. With
    probability `invalid` it takes a command made of the halves of two admissible ones, which is
    most often plausible and impossible. The rest of the time it asks the expert. In a world that
    lists no commands its noise is a command given before in the episode, and its invalid ones are
    those of `agents.invalid`.
    """

    def __init__(
        self, expert: Callable[[Context], str], *, noise: float = 0.4, invalid: float = 0.2
    ) -> None:
        check_fraction("noisy_expert noise", value=noise)
        check_fraction("noisy_expert invalid", value=invalid)
        check_fraction("noisy_expert noise + invalid", value=noise + invalid)
        self.version = 0
        self._expert = expert
        self._noise = noise
        self._invalid = invalid

    async def act(self, context: Context) -> Action:
        draw = generator(context.seed, "noisy_expert").random()
        if draw >= self._invalid + self._noise:
            return Action(command=self._expert(context))
        if context.admissible:
            spoil = _recombined if draw < self._invalid else _any_admissible
            return Action(command=spoil(context))
        right = self._expert(context)
        unlisted = invalid_command if draw < self._invalid else earlier_command
        return Action(command=unlisted(context, right=right))


class ReplayPolicy:
    """Says the given commands in order, whatever the world answers.

    Raises `ValueError` at a turn beyond the last of them.
    """

    def __init__(self, commands: Sequence[str]) -> None:
        self.version = 0
        self._commands = tuple(commands)

    async def act(self, context: Context) -> Action:
        if context.length >= len(self._commands):
            raise ValueError(
                f"the recording has {len(self._commands)} commands, turn {context.length} asks for "
                "another; limit the episode to its length"
            )
        return Action(command=self._commands[context.length])


def _any_admissible(context: Context) -> str:
    commands = _listed(context)
    return commands[int(generator(context.seed, "random").integers(len(commands)))]


def _recombined(context: Context) -> str:
    """The beginning of one admissible command with the last two words of another."""
    commands = _listed(context)
    first, second = generator(context.seed, "invalid").integers(len(commands), size=2)
    head, tail = commands[int(first)].split(" "), commands[int(second)].split(" ")
    return " ".join([*head[: max(1, len(head) - 2)], *tail[-2:]])


def _listed(context: Context) -> tuple[str, ...]:
    if not context.admissible:
        raise ValueError(
            f"world {context.task.world!r} lists no admissible commands at turn {context.length} "
            f"of task {context.task.id!r}; a random policy needs a world that does"
        )
    return context.admissible
