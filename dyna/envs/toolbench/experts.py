"""Who plays the invented APIs: one who knows the chain, and one who errs as agents err."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from dyna.envs.toolbench.builtin import ProblemBook
from dyna.envs.toolbench.calls import FINISH, finish, parse_call, read_response, write_call
from dyna.envs.toolbench.problems import Problem
from dyna.seeding import derive_seed
from dyna.types import Context


class ChainExpert:
    """Makes the calls of a task's chain in order, filling each from the response before.

    It reads what the episode says, be it real or imagined, and finds back after any detour; it
    needs responses that are not cut.
    """

    def __init__(self, book: ProblemBook) -> None:
        self._book = book

    def __call__(self, context: Context) -> str:
        problem, _ = self._book.problem(context.task)
        made = responses(context)
        value: Any = None
        for step in problem.steps:
            command = write_call(step.api.name, step.arguments(value))
            value = step.output.read(made.get(command))
            if value is None:
                return command
        return finish(value)


def responses(context: Context) -> dict[str, Any]:
    """What each call so far was answered, by its canonical form."""
    found: dict[str, Any] = {}
    for turn in context.turns[: context.length]:
        call = parse_call(turn.action.command)
        if call.arguments is not None and call.name != FINISH:
            response = read_response(turn.outcome.observation)
            if response is not None:
                found[write_call(call.name, call.arguments)] = response
    return found


class NoisyChainExpert:
    """Follows the chain with probability `skill`, and otherwise errs in one of ToolBench's ways.

    Raises `ValueError` for a `skill` outside of [0, 1].
    """

    def __init__(self, book: ProblemBook, *, skill: float = 0.5) -> None:
        if not 0.0 <= skill <= 1.0:
            raise ValueError(f"skill must be in [0, 1], got {skill}")
        self._book = book
        self._expert = ChainExpert(book)
        self._skill = skill

    def __call__(self, context: Context) -> str:
        rng = random.Random(derive_seed(context.seed, "toolbench", context.length))
        command = self._expert(context)
        if rng.random() < self._skill:
            return command
        problem, _ = self._book.problem(context.task)
        call = parse_call(command)
        return rng.choice(_MISTAKES)(rng, problem, call.name, dict(call.arguments or {}))


def _other_api(
    rng: random.Random, problem: Problem, name: str, arguments: Mapping[str, Any]
) -> str:
    """The value at hand, given to another API."""
    values = list(arguments.values())
    api = rng.choice(problem.apis)
    given = {p.name: rng.choice(values) for p in api.required} if values else {}
    return write_call(api.name, given)


def _other_value(
    rng: random.Random, problem: Problem, name: str, arguments: Mapping[str, Any]
) -> str:
    """A value of the question, or one that does not exist, in place of the right one."""
    pool = [v for step in problem.steps for v in step.constants.values()]
    pool += [f"{value}x" for value in arguments.values()]
    changed = dict(arguments)
    if name == FINISH:
        changed["final_answer"] = str(rng.choice(pool))
    elif changed:
        changed[rng.choice(list(changed))] = rng.choice(pool)
    return write_call(name, changed)


def _missing(rng: random.Random, problem: Problem, name: str, arguments: Mapping[str, Any]) -> str:
    kept = list(arguments)
    if kept:
        kept.remove(rng.choice(kept))
    return write_call(name, {key: arguments[key] for key in kept})


def _unexpected(
    rng: random.Random, problem: Problem, name: str, arguments: Mapping[str, Any]
) -> str:
    return write_call(name, {**arguments, rng.choice(("query", "id", "format", "lang")): "x"})


def _unparsable(
    rng: random.Random, problem: Problem, name: str, arguments: Mapping[str, Any]
) -> str:
    return write_call(name, arguments)[:-1]


def _unknown(rng: random.Random, problem: Problem, name: str, arguments: Mapping[str, Any]) -> str:
    return write_call(f"{rng.choice(('get', 'find', 'search'))}_{name.lower()}", arguments)


def _too_early(
    rng: random.Random, problem: Problem, name: str, arguments: Mapping[str, Any]
) -> str:
    """An answer before it was found: the last value at hand."""
    values = [*arguments.values(), *(v for s in problem.steps for v in s.constants.values())]
    return finish(rng.choice([str(value) for value in values] or ["unknown"]))


_Mistake = Callable[[random.Random, Problem, str, Mapping[str, Any]], str]
_MISTAKES: tuple[_Mistake, ...] = (
    _other_api,
    _other_api,
    _other_api,
    _other_value,
    _other_value,
    _missing,
    _unexpected,
    _unparsable,
    _unknown,
    _too_early,
)
"""As often as agents make them: a call to the wrong API is commoner than a broken one."""

__all__ = ["ChainExpert", "NoisyChainExpert", "responses"]
