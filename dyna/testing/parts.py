"""The seams of policies, world models, learners, buffers, algorithms and engines."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from dyna.protocols import (
    Algorithm,
    Engine,
    Policy,
    ReplayBuffer,
    Stateful,
    WorldModel,
    WorldModelLearner,
)
from dyna.samples import sample_groups, sample_trajectories
from dyna.testing.outcomes import GARBAGE, check_outcome
from dyna.testing.requirements import is_a, must_refuse, name_of, require
from dyna.types import Action, Outcome, Source, Trajectory, TrajectoryGroup

_T = TypeVar("_T")


def check_policy(policy: Policy, *, trajectories: Sequence[Trajectory] = ()) -> None:
    """A policy acts in every context of real episodes, many at a time, and repeats itself.

    Its actions carry its version: what is too old to learn from is told by that.

    `trajectories` are real episodes of a world it can act in; `sample_trajectories()` otherwise.
    """
    require(is_a(policy, Policy), f"{name_of(policy)} needs async `act` and `version`")
    require(is_a(policy.version, int), f"policy.version must be an int: {policy.version!r}")
    contexts = [
        replace(t.context(length), seed=17 + length, greedy=greedy)
        for t in trajectories or sample_trajectories()
        for length in range(len(t.turns))
        for greedy in (False, True)
    ]

    async def act_twice() -> list[list[Action]]:
        return [list(await asyncio.gather(*map(policy.act, contexts))) for _ in range(2)]

    first, second = asyncio.run(act_twice())
    for context, action in zip(contexts, first, strict=True):
        require(is_a(action, Action), f"act must return an Action, got {name_of(action)}")
        require(is_a(action.command, str), "action.command must be a str")
        require(
            action.policy_version == policy.version,
            f"action.policy_version must be the policy's version, {policy.version}, when it chose; "
            f"got {action.policy_version}",
        )
        require(
            len(action.token_ids) == len(action.log_probs),
            f"an action keeps one log-prob per sampled token, got {len(action.token_ids)} tokens "
            f"and {len(action.log_probs)} log-probs in context {context.episode_id!r}",
        )
        require(
            all(math.isfinite(p) and p <= 1e-4 for p in action.log_probs),
            "log-probs are finite natural logs of probabilities, so at most 0",
        )
    require(
        [a.command for a in first] == [a.command for a in second],
        "the same context must give the same action: take all randomness from `context.seed`",
    )


def check_world_model(model: WorldModel, *, trajectories: Sequence[Trajectory] = ()) -> None:
    """A world model answers any action in any context without raising, and repeats itself."""
    require(is_a(model, WorldModel), f"{name_of(model)} needs async `predict` and `version`")
    require(is_a(model.version, int), f"model.version must be an int: {model.version!r}")
    episodes = trajectories or sample_trajectories()
    asked = [(t.context(i), turn.action) for t in episodes for i, turn in enumerate(t.turns)]
    asked += [(episodes[0].context(0), Action(command=command)) for command in GARBAGE]

    async def predict_twice() -> list[list[Outcome]]:
        calls = [[model.predict(context, action) for context, action in asked] for _ in range(2)]
        return [list(await asyncio.gather(*of_pass)) for of_pass in calls]

    try:
        first, second = asyncio.run(predict_twice())
    except Exception as error:
        raise AssertionError(
            f"predict must not raise on garbage, but raised {error!r}; stop with UNPARSEABLE"
        ) from error
    for outcome in first:
        check_outcome(outcome)
        require(outcome.admissible is None, "a world model must not invent `admissible`")
    # The last bits of a probability may depend on what else was predicted beside it.
    require(
        [replace(o, confidence=1.0) for o in first] == [replace(o, confidence=1.0) for o in second]
        and all(
            abs(a.confidence - b.confidence) < 1e-3 for a, b in zip(first, second, strict=True)
        ),
        "the same context and action must give the same prediction",
    )


def check_world_model_learner(learner: WorldModelLearner, *, replay: ReplayBuffer) -> None:
    """A model's learner reports numbers, and refuses episodes that are not real."""
    require(is_a(learner, WorldModelLearner), f"{name_of(learner)} needs `update`")
    real = sample_trajectories()
    dream = replace(real[0], source=Source.IMAGINED, branch_point=0)
    must_refuse(
        lambda: learner.update([dream], replay),
        "update must raise ValueError for imagined episodes: a model that learns from its own "
        "dreams confirms its errors",
    )
    metrics = learner.update(real, replay)
    require(
        all(math.isfinite(value) for value in metrics.values()),
        f"metrics must be finite numbers, got {metrics}",
    )


def check_stateful(part: Stateful, *, fresh: Stateful, observe: Callable[[Any], _T]) -> None:
    """A part saved and restored into `fresh` looks the same to `observe`."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        part.save(folder)
        expected = observe(part)
        fresh.load(folder)
        require(
            observe(fresh) == expected, f"{name_of(part)} must come back from disk as it was saved"
        )


def check_algorithm(algorithm: Algorithm, *, groups: Sequence[TrajectoryGroup] = ()) -> None:
    """Credit is finite, one number per turn, for trajectories that were given, and repeatable."""
    groups = groups or sample_groups()
    credits = algorithm(groups)
    given = [t for group in groups for t in group.trajectories]
    for credit in credits:
        trajectory = credit.trajectory
        require(trajectory in given, f"credit for {trajectory.id!r}, which was not given")
        for name, values in (("rl", credit.rl), ("ce", credit.ce)):
            require(
                len(values) in (0, len(trajectory.turns)),
                f"credit.{name} needs one number for each of {len(trajectory.turns)} turns, or "
                f"none at all; got {len(values)}",
            )
            require(all(map(math.isfinite, values)), f"credit.{name} must be finite: {values}")
    require(algorithm(groups) == credits, "an algorithm is a pure function of its groups")
    require(algorithm([]) == [], "an algorithm of no groups must give no credit")


def check_engine(
    engine: Engine, *, prompt: Sequence[int], stop_ids: Sequence[int] = (), max_new_tokens: int = 8
) -> None:
    """See `dyna.engines.contract.check_engine`."""
    from dyna.engines.contract import check_engine as check

    check(engine, prompt=prompt, stop_ids=stop_ids, max_new_tokens=max_new_tokens)


__all__ = [
    "check_algorithm",
    "check_engine",
    "check_policy",
    "check_stateful",
    "check_world_model",
    "check_world_model_learner",
]
