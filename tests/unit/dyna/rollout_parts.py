"""A world that counts, policies that say what they are told, and one way to play them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from dyna.rollout import (
    EpisodeSpec,
    Limits,
    play_episode,
)
from dyna.types import (
    Action,
    Context,
    Outcome,
    Source,
    Start,
    StopReason,
    Task,
    Trajectory,
)

TASK = Task(id="count/train/0", world="count", family="count", split="train")
LIMITS = Limits(max_turns=5, step_timeout_s=5.0)


class CountingEnv:
    """Says how many steps were taken; ends in success after `goal` steps."""

    def __init__(
        self, *, goal: int = 3, before_step: Callable[[int], object] | None = None
    ) -> None:
        self.goal = goal
        self.before_step = before_step
        self.steps = 0
        self.closed = 0

    async def reset(self, task: Task) -> Start:
        self.steps = 0
        return Start(observation="Start.")

    async def step(self, action: Action) -> Outcome:
        self.steps += 1
        if self.before_step is not None:
            answer = self.before_step(self.steps)
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer is not None:
                return answer  # type: ignore[return-value]
        if self.steps < self.goal:
            return Outcome(observation=f"Step {self.steps}.")
        return Outcome(
            observation="Done.",
            reward=1.0,
            terminated=True,
            success=True,
            stop=StopReason.TERMINATED,
        )

    async def close(self) -> None:
        self.closed += 1


class SeededPolicy:
    """Says a number drawn from the turn's own seed, after a pause drawn from nowhere."""

    version = 7

    async def act(self, context: Context) -> Action:
        await asyncio.sleep(random.random() / 1000)
        return Action(command=str(random.Random(context.seed).random()))


class CallingPolicy:
    version = 1

    def __init__(self, act: Callable[[Context], Action]) -> None:
        self._act = act

    async def act(self, context: Context) -> Action:
        return self._act(context)


def spec(index: int = 0, *, group: str = "", task: Task = TASK) -> EpisodeSpec:
    return EpisodeSpec(task=task, episode_id=f"e{index}", group_id=group, seed=index)


def play(
    env: CountingEnv,
    *,
    policy: object | None = None,
    limits: Limits = LIMITS,
    source: Source = Source.REAL,
    episode: EpisodeSpec | None = None,
) -> Trajectory:
    return asyncio.run(
        play_episode(
            episode or spec(),
            policy=policy or SeededPolicy(),  # type: ignore[arg-type]
            env=env,
            limits=limits,
            source=source,
        )
    )


def break_down(_: int) -> None:
    raise RuntimeError("the kettle broke")
