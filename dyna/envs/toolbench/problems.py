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
from functools import cache
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


def wants_held_out(split: str) -> bool | None:
    """Whether a split has held-out compositions alone, or none; None for all of them."""
    return {"train": False, "valid_seen": False, "valid_unseen": True}.get(split)


def belongs(problem: Problem, *, split: str) -> bool:
    """Whether a problem is of a split; it is of one at most."""
    wanted = wants_held_out(split)
    if wanted is not None and is_held_out(problem.composition) != wanted:
        return False
    return int(problem.content_key(), 16) % 100 in SPLITS[split]


def draw_problem(
    seed: int,
    *,
    tables: Tables,
    num_calls: int,
    num_distractors: int,
    categories: Sequence[str],
    held_out: bool | None = None,
) -> Problem | None:
    """The problem of one seed; None where the chain drawn leads nowhere or is ambiguous, or is not
    of the wanted side: compositions that are held out, or that are not."""
    rng = random.Random(seed)
    steps = _draw_steps(rng, categories=tuple(categories), tables=tables, num_calls=num_calls)
    if steps is None:
        return None
    if held_out is not None and is_held_out(_composition(steps)) != held_out:
        return None
    values = _solve(steps, tables=tables)
    if values is None:
        return None
    phrase = _phrase(steps)
    verb = "List" if steps[-1].output.kind == "list" else "Find"
    query = f"{verb} {phrase}."
    # What can be read off the question needs no call.
    if any(str(value).casefold() in query.casefold() for value in values):
        return None
    return Problem(
        steps=steps,
        values=values,
        query=query,
        apis=_with_distractors(
            rng,
            steps=steps,
            apis=list(in_categories(categories).values()),
            num=num_distractors,
        ),
    )


def _draw_steps(
    rng: random.Random, *, categories: tuple[str, ...], tables: Tables, num_calls: int
) -> tuple[Step, ...] | None:
    ways = _ways(categories)
    steps: list[Step] = []
    wanted = ""
    for left in range(num_calls - 1, -1, -1):
        used = {step.api.name for step in steps}
        here = ways.get((wanted, left == 0), {})
        names = [name for name in here if name not in used]
        if not names:
            return None
        api, parameter, output = rng.choice(here[rng.choice(names)])
        takes = parameter if wanted else ""
        constants = {
            p.name: _draw_value(rng, kind=p.kind, tables=tables)
            for p in api.required
            if p.name != takes
        }
        steps.append(Step(api=api, constants=constants, output=output, takes=takes))
        wanted = output.kind
    return tuple(steps)


@cache
def _ways(
    categories: tuple[str, ...],
) -> Mapping[tuple[str, bool], Mapping[str, Sequence[tuple[Api, str, Output]]]]:
    """API, parameter and output of every step that takes a kind (empty: anything), by API.

    The flag says whether it may be the last step; otherwise some API must take what it gives.
    """
    apis = in_categories(categories).values()
    taken = {p.kind for api in apis for p in api.required}
    ways: dict[tuple[str, bool], dict[str, list[tuple[Api, str, Output]]]] = {}
    for api in apis:
        for parameter in api.required:
            for output in api.outputs:
                way = (api, parameter.name, output)
                for kind in ("", parameter.kind):
                    ways.setdefault((kind, True), {}).setdefault(api.name, []).append(way)
                    if output.kind in taken:
                        ways.setdefault((kind, False), {}).setdefault(api.name, []).append(way)
    return ways


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
    "wants_held_out",
]
