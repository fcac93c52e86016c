"""Problems: chains of calls in which each needs what the one before found, posed as a question.

A chain is drawn from the kinds of things that APIs take and give, and played against the tables;
it is kept only if every value on the way is unique. What split it belongs to follows from its
content alone, and the compositions held out for `valid_unseen` are in no other split but `test`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from dyna.envs.toolbench.calls import execute
from dyna.envs.toolbench.catalog import SOURCES, in_categories, spoken
from dyna.envs.toolbench.documents import Api, Output
from dyna.envs.toolbench.tables import Tables
from dyna.seeding import derive_seed

SPLITS: Mapping[str, range] = {
    "train": range(0, 70),
    "valid_seen": range(70, 80),
    "valid_unseen": range(80, 90),
    "test": range(90, 100),
}
"""The hundredths of all content that belong to each split."""
MAX_CALLS = 4
_HELD_OUT_SHARE = 5
"""One composition of so many is held out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of a chain. `takes` names the parameter that the step before fills."""

    api: Api
    constants: Mapping[str, Any]
    output: Output
    takes: str = ""

    def arguments(self, before: Any) -> dict[str, Any]:
        """The arguments in the document's order; `before` is what the step before found."""
        return {
            p.name: before if p.name == self.takes else self.constants[p.name]
            for p in self.api.required
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question over tables, the calls that answer it, and the APIs to choose from."""

    steps: tuple[Step, ...]
    values: tuple[Any, ...]
    """What each step finds; the last is the answer."""
    query: str
    apis: tuple[Api, ...]
    """Those of the steps among distractors, in the order listed."""

    @property
    def answer(self) -> Any:
        return self.values[-1]

    @property
    def composition(self) -> str:
        """What kind of chain it is, whatever the values: the unit that can be held out."""
        return _composition(self.steps)

    def content_key(self) -> str:
        """Equal for the same question with the same way to the same answer."""
        content = [self.query, self.composition, self.values]
        return blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


def is_held_out(composition: str) -> bool:
    return derive_seed(0, "held out", composition) % _HELD_OUT_SHARE == 0


def belongs(problem: Problem, *, split: str) -> bool:
    """Whether a problem is of a split; it is of one at most."""
    held_out = is_held_out(problem.composition)
    if split in ("train", "valid_seen") and held_out:
        return False
    if split == "valid_unseen" and not held_out:
        return False
    return int(problem.content_key(), 16) % 100 in SPLITS[split]


def draw_problem(
    seed: int, *, tables: Tables, num_calls: int, num_distractors: int, categories: Sequence[str]
) -> Problem | None:
    """The problem of one seed; None where the chain drawn leads nowhere or is ambiguous."""
    rng = random.Random(seed)
    apis = list(in_categories(categories).values())
    steps = _draw_steps(rng, apis=apis, tables=tables, num_calls=num_calls)
    if steps is None:
        return None
    values = _solve(steps, tables=tables)
    if values is None:
        return None
    phrase = _phrase(steps)
    verb = "List" if steps[-1].output.kind == "list" else "Find"
    query = f"{verb} {phrase}."
    if not isinstance(values[-1], list) and str(values[-1]).casefold() in query.casefold():
        return None
    return Problem(
        steps=steps,
        values=values,
        query=query,
        apis=_with_distractors(rng, steps=steps, apis=apis, num=num_distractors),
    )


def _draw_steps(
    rng: random.Random, *, apis: Sequence[Api], tables: Tables, num_calls: int
) -> tuple[Step, ...] | None:
    steps: list[Step] = []
    wanted = ""
    for index in range(num_calls):
        fitting = [
            (api, parameter.name)
            for api in apis
            if all(api is not step.api for step in steps)
            for parameter in api.required
            if not wanted or parameter.kind == wanted
        ]
        is_last = index == num_calls - 1
        taken = {p.kind for api in apis for p in api.required}
        ways = [
            (api, name, output)
            for api, name in fitting
            for output in api.outputs
            if is_last or output.kind in taken
        ]
        if not ways:
            return None
        api = rng.choice(list({api.name: api for api, _, _ in ways}.values()))
        _, name, output = rng.choice([way for way in ways if way[0] is api])
        takes = name if wanted else ""
        constants = {
            p.name: _draw_value(rng, kind=p.kind, tables=tables)
            for p in api.required
            if p.name != takes
        }
        steps.append(Step(api=api, constants=constants, output=output, takes=takes))
        wanted = output.kind
    return tuple(steps)


def _draw_value(rng: random.Random, *, kind: str, tables: Tables) -> Any:
    table, column = SOURCES[kind]
    return rng.choice(tables[table])[column]


def _solve(steps: Sequence[Step], *, tables: Tables) -> tuple[Any, ...] | None:
    """What each step finds; None if one fails, is ambiguous, or comes back to a value."""
    values: list[Any] = []
    seen = {str(value) for step in steps for value in step.constants.values()}
    if len(seen) < sum(len(step.constants) for step in steps):
        return None
    for step in steps:
        arguments = step.arguments(values[-1] if values else None)
        answer = execute(step.api, arguments=arguments, tables=tables)
        value = None if answer.error else step.output.read(answer.response)
        if value is None or str(value) in seen:
            return None
        seen.add(str(value))
        values.append(value)
    return tuple(values)


def _phrase(steps: Sequence[Step]) -> str:
    """The noun phrases of all steps, one inside the other."""
    phrase = ""
    for step in steps:
        words = {
            p.name: phrase if p.name == step.takes else spoken(p.kind, step.constants[p.name])
            for p in step.api.required
        }
        phrase = step.output.phrase.format(**words)
    return phrase


def _composition(steps: Sequence[Step]) -> str:
    return " > ".join(
        f"{step.takes}:{step.api.name}.{step.output.pick}.{step.output.field}" for step in steps
    )


def _with_distractors(
    rng: random.Random, *, steps: Sequence[Step], apis: Sequence[Api], num: int
) -> tuple[Api, ...]:
    """The chain's APIs and `num` others, half of them from the same tools if there are enough."""
    needed = [step.api for step in steps]
    tools = {api.tool for api in needed}
    others = [api for api in apis if all(api is not one for one in needed)]
    rng.shuffle(others)
    near = [api for api in others if api.tool in tools][: (num + 1) // 2]
    far = [api for api in others if all(api is not one for one in near)]
    chosen = needed + (near + far)[:num]
    rng.shuffle(chosen)
    return tuple(chosen)


__all__ = [
    "MAX_CALLS",
    "SPLITS",
    "Problem",
    "Step",
    "belongs",
    "draw_problem",
    "is_held_out",
]
