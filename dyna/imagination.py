"""The world model as a world: `ImaginedEnv` is an `Env`, so one `rollout()` serves both.

The model predicts; code checks. What the model doubts, or what breaks a rule that holds in every
world, ends the dream and is worth nothing: a policy must not be paid for finding the model's
errors. Which commands are possible is never imagined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dyna.protocols import WorldModel
from dyna.rollout import EpisodeSpec
from dyna.seeding import derive_seed, generator
from dyna.types import Action, Context, Outcome, Source, Start, StopReason, Task, Trajectory, Turn

NOTHING_HAPPENS = ("Nothing happens.",)
_SLACK = 1e-9
"""Rewards that sum to a bound exactly may miss it by rounding."""


class ImaginedEnv:
    """An episode in the head of `model`, from a real start or from the end of a real prefix.

    `min_confidence` and `min_win_confidence` are in [0, 1]: a prediction less sure than the
    first, or a predicted success less sure than the second, ends the dream UNTRUSTED.
    `reward_bounds` hold the sum of an episode's rewards; a prediction that leaves them, is not
    finite, or says success without an ending, ends it UNPARSEABLE. In both cases its reward is 0.
    An observation among `invalid_observations` says that the action was not carried out.
    """

    def __init__(
        self,
        model: WorldModel,
        *,
        start: Start,
        prefix: Sequence[Turn] = (),
        min_confidence: float = 0.0,
        min_win_confidence: float = 0.0,
        reward_bounds: tuple[float, float] = (0.0, 1.0),
        invalid_observations: tuple[str, ...] = NOTHING_HAPPENS,
        episode_id: str = "",
        seed: int = 0,
    ) -> None:
        for name, value in (
            ("min_confidence", min_confidence),
            ("min_win_confidence", min_win_confidence),
        ):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"imagination.{name} must be in [0, 1], got {value}")
        if prefix and prefix[-1].outcome.stop is not None:
            raise ValueError(
                f"a dream cannot branch after an ended episode ({prefix[-1].outcome.stop}); "
                "branch at an earlier turn"
            )
        self._model = model
        self._start = start
        self._prefix = tuple(prefix)
        self._min_confidence = min_confidence
        self._min_win_confidence = min_win_confidence
        self._reward_bounds = reward_bounds
        self._invalid_observations = frozenset(invalid_observations)
        self._episode_id = episode_id
        self._seed = seed
        self._task: Task | None = None
        self._turns: list[Turn] = []
        self._total_reward = 0.0
        self._ended = True

    async def reset(self, task: Task) -> Start:
        self._task = task
        self._turns = list(self._prefix)
        self._total_reward = float(sum(turn.outcome.reward for turn in self._prefix))
        self._ended = False
        return self._start

    async def step(self, action: Action) -> Outcome:
        """The model's answer, checked. Raises `RuntimeError` when no episode is running."""
        if self._task is None or self._ended:
            raise RuntimeError("the dream has ended or never began; call reset first")
        context = Context(
            task=self._task,
            start=self._start,
            turns=self._turns,
            length=len(self._turns),
            episode_id=self._episode_id,
            seed=derive_seed(self._seed, "model", len(self._turns)),
        )
        outcome = self._judge(await self._model.predict(context, action))
        self._turns.append(Turn(action=action, outcome=outcome))
        self._total_reward += outcome.reward
        self._ended = outcome.stop is not None
        return outcome

    async def close(self) -> None:
        self._ended = True

    def _judge(self, predicted: Outcome) -> Outcome:
        """The prediction as the policy may have it: trusted, lawful, and nothing invented."""
        stop = predicted.stop
        if stop is None or stop is StopReason.TERMINATED:
            stop = self._breach(predicted)
        if stop is not None:
            return replace(
                predicted,
                reward=0.0,
                terminated=False,
                success=False,
                stop=stop,
                valid=None,
                admissible=None,
            )
        return replace(
            predicted,
            stop=StopReason.TERMINATED if predicted.terminated else None,
            valid=predicted.observation.strip() not in self._invalid_observations,
            admissible=None,
        )

    def _breach(self, predicted: Outcome) -> StopReason | None:
        """The first rule that the prediction breaks. Comparisons are so that NaN breaks them."""
        low, high = self._reward_bounds
        total = self._total_reward + predicted.reward
        lawful = (
            math.isfinite(predicted.reward)
            and low - _SLACK <= total <= high + _SLACK
            and (predicted.terminated or not predicted.success)
            and (predicted.terminated or predicted.stop is None)
        )
        if not lawful:
            return StopReason.UNPARSEABLE
        if not predicted.confidence >= self._min_confidence:
            return StopReason.UNTRUSTED
        if predicted.success and not predicted.confidence >= self._min_win_confidence:
            return StopReason.UNTRUSTED
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dream:
    """A dream to be played: its spec (the real prefix within it) and the real start it is from."""

    spec: EpisodeSpec
    start: Start


class Vary(Protocol):
    """Poses another task in a known place; see `dyna.protocols.HasVariations`."""

    def __call__(self, task: Task, start: Start, *, seed: int) -> tuple[Task, Start] | None: ...


def plan_dreams(
    real: Sequence[Trajectory],
    *,
    num: int,
    group_size: int,
    branch_fraction: float = 0.0,
    new_task_fraction: float = 0.0,
    vary: Vary | None = None,
    seed: int,
    round: int = 0,
    name: str = "dream",
) -> list[Dream]:
    """`num` dreams in groups of `group_size`, each group from one place in a real episode.

    Starts are taken from the episodes in a seeded order that visits every one before any twice;
    a `branch_fraction` of the groups begins after a uniformly drawn number of its turns, at least
    one and never the last, as in MBPO (Janner et al. 2019, arXiv 1906.08253). Of the groups that
    begin at a start, a `new_task_fraction` pursue another task there, if `vary` has one. Failed
    episodes start no dreams, and only real ones may be given. The last group is smaller when
    `group_size` does not divide `num`. Ids are unique within a round and `name`: plan such dreams
    at once, play slices.

    Raises `ValueError` on imagined episodes, on numbers out of range, and when `num > 0` but no
    episode is left to dream from.
    """
    _check_plan(real, num=num, group_size=group_size, branch_fraction=branch_fraction)
    origins = [t for t in real if not t.stop.is_failure]
    if num and not origins:
        raise ValueError(f"no real episode to dream from among the {len(real)} given")
    rng = generator(seed, "dreams", round)
    order: list[int] = []
    dreams: list[Dream] = []
    for group in range(-(-num // group_size)):
        if not order:
            order = rng.permutation(len(origins)).tolist()
        origin = origins[order.pop()]
        # Drawn whether used or not, so that branch_fraction does not reorder the origins.
        branches, place = rng.random() < branch_fraction, rng.random()
        varies = rng.random() < new_task_fraction
        at = 1 + int(place * (len(origin.turns) - 1)) if branches and len(origin.turns) > 1 else 0
        group_id = f"round{round}/{name}{group}"
        task, start = origin.task, origin.start
        if varies and not at and vary is not None:
            task, start = vary(task, start, seed=derive_seed(seed, group_id)) or (task, start)
        for member in range(min(group_size, num - group * group_size)):
            episode_id = f"{group_id}/{member}"
            spec = EpisodeSpec(
                task=task,
                episode_id=episode_id,
                group_id=group_id,
                seed=derive_seed(seed, episode_id),
                prefix=origin.turns[:at],
                round=round,
            )
            dreams.append(Dream(spec=spec, start=start))
    return dreams


def _check_plan(
    real: Sequence[Trajectory], *, num: int, group_size: int, branch_fraction: float
) -> None:
    if num < 0:
        raise ValueError(f"imagination.episodes_per_round must be >= 0, got {num}")
    if group_size < 1:
        raise ValueError(f"imagination.group_size must be >= 1, got {group_size}")
    if not 0.0 <= branch_fraction <= 1.0:
        raise ValueError(f"imagination.branch_fraction must be in [0, 1], got {branch_fraction}")
    for trajectory in real:
        if trajectory.source is not Source.REAL:
            raise ValueError(
                f"dreams start from real episodes, but {trajectory.id!r} is {trajectory.source}"
            )


def dream_envs(
    dreams: Sequence[Dream],
    *,
    model: WorldModel,
    min_confidence: float = 0.0,
    min_win_confidence: float = 0.0,
    reward_bounds: tuple[float, float] = (0.0, 1.0),
    invalid_observations: tuple[str, ...] = NOTHING_HAPPENS,
) -> Callable[[EpisodeSpec], ImaginedEnv]:
    """The `make_env` that `rollout()` plays these dreams with.

    Example: `await rollout([d.spec for d in dreams], policy=policy, source=Source.IMAGINED,
    make_env=dream_envs(dreams, model=model), limits=limits, model_version=model.version)`
    """
    starts: Mapping[str, Start] = {dream.spec.episode_id: dream.start for dream in dreams}

    def make(spec: EpisodeSpec) -> ImaginedEnv:
        return ImaginedEnv(
            model,
            start=starts[spec.episode_id],
            prefix=spec.prefix,
            min_confidence=min_confidence,
            min_win_confidence=min_win_confidence,
            reward_bounds=reward_bounds,
            invalid_observations=invalid_observations,
            episode_id=spec.episode_id,
            seed=spec.seed,
        )

    return make


__all__ = ["NOTHING_HAPPENS", "Dream", "ImaginedEnv", "dream_envs", "plan_dreams"]
