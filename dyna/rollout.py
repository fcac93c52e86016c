"""Plays policies in worlds: real play, imagination and evaluation are this one function.

They differ only in the `Env` they are given. A real world or a policy that breaks is data: the
episode is recorded with its `StopReason` and what was said, and the others play on. A dream's world
is a model and an engine, our own code: what breaks there is a bug, and is raised. So is a policy
that breaks in every episode (`check_policies`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from dyna.protocols import EngineLostError, Env, Policy
from dyna.rendering import ContextOverflow
from dyna.seeding import derive_seed
from dyna.spending import SpendLimitError
from dyna.types import (
    Action,
    Context,
    Outcome,
    Source,
    Start,
    StopReason,
    Task,
    Trajectory,
    TrajectoryGroup,
    Turn,
)

_log = logging.getLogger(__name__)
_NUM_TOLD = 3
"""Kinds of failure that one batch of episodes warns of; hundreds of episodes may fail alike."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeSpec:
    """One episode to play.

    Example: the third of eight dreams from one start:
    `EpisodeSpec(task=task, episode_id="r2/dream/5/3", group_id="r2/dream/5", seed=91)`
    """

    task: Task
    episode_id: str
    """Becomes the trajectory's id; unique within a run."""
    group_id: str = ""
    """Shared by episodes that are compared with one another; empty: a group of one."""
    seed: int = 0
    """All sampling of the episode follows from it, whatever plays beside it."""
    greedy: bool = False
    """Evaluation: the policy takes its most likely action."""
    prefix: tuple[Turn, ...] = ()
    """Turns already played. The env must be one that begins after them, as a dream does."""
    behavior: str = "policy"
    round: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    max_turns: int
    """Turns after the prefix: a real episode ends STEP_LIMIT, a dream HORIZON."""
    step_timeout_s: float = math.inf
    """Seconds for one reset, step or close; `math.inf` waits for ever. A world that blocks its
    thread must be isolated (`dyna.envs.isolation`) for this to reach it."""

    def __post_init__(self) -> None:
        if self.max_turns < 1:
            raise ValueError(f"limits.max_turns must be >= 1, got {self.max_turns}")
        if not self.step_timeout_s > 0:
            raise ValueError(f"limits.step_timeout_s must be > 0, got {self.step_timeout_s}")


class BrokenDreamError(RuntimeError):
    """The world model or its engine broke in a dream; `__cause__` says how."""


class BrokenPolicyError(RuntimeError):
    """The policy broke in every episode that it played."""


class _Failure(Exception):
    """Something broke; carries the reason under which the episode is recorded."""

    def __init__(self, stop: StopReason, error: str) -> None:
        super().__init__(error)
        self.stop = stop
        self.error = error


async def play_episode(
    spec: EpisodeSpec,
    *,
    policy: Policy,
    env: Env,
    limits: Limits,
    source: Source,
    model_version: int | None = None,
) -> Trajectory:
    """Play one episode to its end and close `env`, whatever happens.

    A failure (see `StopReason.is_failure`) keeps the turns before it and drops the one in which
    it happened, so that no reward and no success can come from it. Raises `BrokenDreamError` when
    the env of a dream breaks, `EngineLostError` when the policy's engine is gone, and
    `asyncio.CancelledError` when the caller cancels.
    """
    turns = list(spec.prefix)
    start = Start(observation="")
    stop, error = StopReason.LOST, ""
    policy_version = policy.version
    try:
        start = await _reset(env, task=spec.task, limits=limits)
        stop = await _play_turns(
            spec, policy=policy, env=env, limits=limits, source=source, start=start, turns=turns
        )
    except _Failure as failure:
        stop, error = failure.stop, failure.error
        if source is not Source.REAL and stop is StopReason.ENV_ERROR:
            raise BrokenDreamError(f"dream {spec.episode_id}: {error}") from failure.__cause__
        _log.info("episode %s ended %s: %s", spec.episode_id, stop, error, exc_info=failure)
    finally:
        await _close(env, spec=spec, limits=limits)
    return Trajectory(
        id=spec.episode_id,
        task=spec.task,
        start=start,
        turns=tuple(turns),
        stop=stop,
        source=source,
        branch_point=len(spec.prefix),
        policy_version=policy_version,
        model_version=model_version,
        round=spec.round,
        group_id=spec.group_id,
        behavior=spec.behavior,
        error=error,
    )


async def _play_turns(
    spec: EpisodeSpec,
    *,
    policy: Policy,
    env: Env,
    limits: Limits,
    source: Source,
    start: Start,
    turns: list[Turn],
) -> StopReason:
    """Append turns until the episode ends; returns why it did."""
    for _ in range(limits.max_turns):
        index = len(turns)
        context = Context(
            task=spec.task,
            start=start,
            turns=turns,
            length=index,
            episode_id=spec.episode_id,
            seed=derive_seed(spec.seed, index),
            greedy=spec.greedy,
        )
        action = await _act(policy, context=context)
        if action is None:
            return StopReason.CONTEXT_FULL
        outcome = await _step(env, action=action, limits=limits)
        stop = outcome.stop or (StopReason.TERMINATED if outcome.terminated else None)
        if stop is not None and stop.is_failure:
            raise _Failure(stop, outcome.observation)
        turns.append(Turn(action=action, outcome=outcome))
        if stop is not None:
            return stop
    return StopReason.HORIZON if source is Source.IMAGINED else StopReason.STEP_LIMIT


async def _reset(env: Env, *, task: Task, limits: Limits) -> Start:
    start = await _within(env.reset(task), limits=limits, doing="reset")
    if not isinstance(cast(object, start), Start):
        raise _Failure(StopReason.ENV_ERROR, f"reset returned {_kind(start)}, not a Start")
    return start


async def _step(env: Env, *, action: Action, limits: Limits) -> Outcome:
    outcome = await _within(env.step(action), limits=limits, doing="step")
    if not isinstance(cast(object, outcome), Outcome):
        raise _Failure(StopReason.ENV_ERROR, f"step returned {_kind(outcome)}, not an Outcome")
    reward = cast(object, outcome.reward)
    if not isinstance(reward, int | float):
        raise _Failure(StopReason.ENV_ERROR, f"reward must be a float, got {_kind(reward)}")
    if not math.isfinite(reward):
        raise _Failure(StopReason.ENV_ERROR, f"reward must be a finite number, got {reward}")
    return outcome


async def _act(policy: Policy, *, context: Context) -> Action | None:
    """The policy's action; None when its prompt no longer fits the context window."""
    try:
        action = await policy.act(context)
    except ContextOverflow:
        return None
    except asyncio.CancelledError as error:
        _propagate_if_ours(error)
        raise _Failure(StopReason.POLICY_ERROR, "act was cancelled from within") from error
    except (EngineLostError, SpendLimitError):
        raise
    except Exception as error:
        raise _Failure(StopReason.POLICY_ERROR, f"act raised {_describe(error)}") from error
    if not isinstance(cast(object, action), Action):
        raise _Failure(StopReason.POLICY_ERROR, f"act returned {_kind(action)}, not an Action")
    return action


async def _within(call: Awaitable[_T], *, limits: Limits, doing: str) -> _T:
    """Await one call into the env, with the time limit; anything it raises is a `_Failure`."""
    seconds = limits.step_timeout_s if limits.step_timeout_s < math.inf else None
    clock = asyncio.timeout(seconds)
    try:
        async with clock:
            result = await call
    except asyncio.CancelledError as error:
        _propagate_if_ours(error)
        raise _Failure(StopReason.ENV_ERROR, f"{doing} was cancelled from within") from error
    except Exception as error:
        if not clock.expired():
            raise _Failure(StopReason.ENV_ERROR, f"{doing} raised {_describe(error)}") from error
    else:
        if not clock.expired():
            return result
    # An answer that came after the limit is no answer: time limits must not depend on manners.
    raise _Failure(StopReason.ENV_TIMEOUT, f"{doing} took longer than {limits.step_timeout_s:g} s")


async def _close(env: Env, *, spec: EpisodeSpec, limits: Limits) -> None:
    """Close; a world that cannot be closed cleanly spoils nothing that was already played."""
    try:
        await _within(env.close(), limits=limits, doing="close")
    except _Failure as failure:
        _log.info("episode %s: %s", spec.episode_id, failure.error, exc_info=failure)


def _propagate_if_ours(error: asyncio.CancelledError) -> None:
    """Re-raise a cancellation that somebody asked this task for.

    A world whose inner future was cancelled raises the same exception, and is merely broken.
    """
    task = asyncio.current_task()
    if task is None or task.cancelling():
        raise error


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _kind(value: object) -> str:
    return type(value).__name__


async def rollout(
    specs: Sequence[EpisodeSpec],
    *,
    policy: Policy,
    make_env: Callable[[EpisodeSpec], Env],
    limits: Limits,
    source: Source,
    max_concurrent: int = 64,
    model_version: int | None = None,
    on_episode: Callable[[Trajectory], None] | None = None,
) -> list[Trajectory]:
    """Play every episode, at most `max_concurrent` at a time; returns them in the order of specs.

    What an episode samples depends on its own spec alone. `on_episode` is called as each ends,
    in the order in which they do. Each episode gets an env of its own from `make_env`; one that
    cannot be made is recorded as ENV_ERROR. Failures are warned of once for each kind. Raises
    `BrokenDreamError`, as `play_episode` does.
    """
    if max_concurrent < 1:
        raise ValueError(f"max_concurrent must be >= 1, got {max_concurrent}")
    results: dict[int, Trajectory] = {}
    waiting = iter(enumerate(specs))

    async def play_on() -> None:
        for index, spec in waiting:
            try:
                env = make_env(spec)
            except Exception as error:
                env = _Unmade(_describe(error))
            trajectory = await play_episode(
                spec,
                policy=policy,
                env=env,
                limits=limits,
                source=source,
                model_version=model_version,
            )
            results[index] = trajectory
            if on_episode is not None:
                on_episode(trajectory)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(max_concurrent, len(specs))):
                group.create_task(play_on())
    except ExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    played = [results[index] for index in range(len(specs))]
    warn_of_failures(played)
    return played


def warn_of_failures(played: Sequence[Trajectory]) -> None:
    """Log each kind of failure among them, once."""
    failed = [t for t in played if t.stop.is_failure]
    kinds = Counter((t.stop, t.error) for t in failed)
    for (stop, error), count in kinds.most_common(_NUM_TOLD):
        _log.warning("%d of %d episodes ended %s: %s", count, len(played), stop, error)
    if len(kinds) > _NUM_TOLD:
        told = sum(count for _, count in kinds.most_common(_NUM_TOLD))
        _log.warning("%d more episodes failed in other ways", len(failed) - told)


def check_policies(played: Sequence[Trajectory]) -> None:
    """Raise `BrokenPolicyError` if somebody's every episode ended in an error of the policy.

    One failed episode is data; a policy that cannot act at all is a fault to be mended, and what
    follows from its silence would be noise.
    """
    for behavior in dict.fromkeys(t.behavior for t in played):
        theirs = [t for t in played if t.behavior == behavior]
        if all(t.stop is StopReason.POLICY_ERROR for t in theirs):
            raise BrokenPolicyError(
                f"all {len(theirs)} episodes of {behavior!r} failed; the first, {theirs[0].id}: "
                f"{theirs[0].error}"
            )


class _Unmade:
    """Stands for a world that could not be made, so that its episode fails like any other."""

    def __init__(self, error: str) -> None:
        self._error = error

    async def reset(self, task: Task) -> Start:
        raise RuntimeError(f"the environment of task {task.id} cannot be made: {self._error}")

    async def step(self, action: Action) -> Outcome:
        raise RuntimeError(self._error)

    async def close(self) -> None:
        return


def gather_groups(trajectories: Iterable[Trajectory]) -> list[TrajectoryGroup]:
    """Whole groups, in the order of their first members.

    A group with a failed member is left out whole: what is left of it would bias the comparison
    within the group. A trajectory without `group_id` is a group of one. Raises `ValueError` when
    one `group_id` holds two tasks.
    """
    members: dict[str, list[Trajectory]] = {}
    for index, trajectory in enumerate(trajectories):
        members.setdefault(trajectory.group_id or f"\x00{index}", []).append(trajectory)
    groups: list[TrajectoryGroup] = []
    for group_id, found in members.items():
        task = found[0].task
        if any(t.task.id != task.id for t in found):
            names = sorted({t.task.id for t in found})
            raise ValueError(f"group {group_id!r} must hold one task, got {names}")
        group = TrajectoryGroup(task=task, trajectories=tuple(found))
        if group.is_whole:
            groups.append(group)
    return groups


__all__ = [
    "BrokenDreamError",
    "BrokenPolicyError",
    "EpisodeSpec",
    "Limits",
    "check_policies",
    "gather_groups",
    "play_episode",
    "rollout",
    "warn_of_failures",
]
