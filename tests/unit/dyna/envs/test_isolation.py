"""A world in a thread of its own: the same episodes, and a hanging one is given up."""

from __future__ import annotations

import asyncio
import time

from dyna.config import Isolation, WorkerConfig, WorldConfig
from dyna.envs.corridor import CorridorEnv, CorridorWorld
from dyna.envs.isolation import isolate
from dyna.envs.processes import ProcessEnv
from dyna.envs.threads import ABANDONED, Abandoned, ThreadedEnv
from dyna.protocols import Env
from dyna.rollout import EpisodeSpec, Limits, play_episode, rollout
from dyna.types import Action, Context, Outcome, Source, Start, StopReason, Task, Trajectory

TASK = Task(id="count/train/0", world="count", family="count", split="train")


class BlockingEnv:
    """Ends after three steps; each blocks its thread for `block_s` seconds."""

    def __init__(self, *, block_s: float = 0.0) -> None:
        self.block_s = block_s
        self.steps = 0

    async def reset(self, task: Task) -> Start:
        self.steps = 0
        return Start(observation="Start.")

    async def step(self, action: Action) -> Outcome:
        time.sleep(self.block_s)
        self.steps += 1
        if self.steps < 3:
            return Outcome(observation=f"Step {self.steps}.")
        return Outcome(observation="Done.", terminated=True, stop=StopReason.TERMINATED)

    async def close(self) -> None:
        return


class Goer:
    version = 0

    async def act(self, context: Context) -> Action:
        return Action(command="go")


def play(env: Env, *, timeout_s: float = 5.0) -> Trajectory:
    return asyncio.run(
        play_episode(
            EpisodeSpec(task=TASK, episode_id="e"),
            policy=Goer(),
            env=env,
            limits=Limits(max_turns=5, step_timeout_s=timeout_s),
            source=Source.REAL,
        )
    )


def test_a_world_that_blocks_its_thread_is_given_up_and_counted() -> None:
    abandoned = Abandoned()
    env = ThreadedEnv(lambda: BlockingEnv(block_s=1.0), abandoned=abandoned)
    began = time.monotonic()
    trajectory = play(env, timeout_s=0.05)
    assert trajectory.stop is StopReason.ENV_TIMEOUT
    assert time.monotonic() - began < 0.9
    assert abandoned.count == 1


def test_a_fresh_thread_plays_on_after_one_hung() -> None:
    hang = [True, False, False]

    def make() -> BlockingEnv:
        if hang.pop(0):
            return BlockingEnv(block_s=1.0)
        return BlockingEnv()

    before = ABANDONED.count
    done = asyncio.run(
        rollout(
            [EpisodeSpec(task=TASK, episode_id=str(i)) for i in range(3)],
            policy=Goer(),
            make_env=lambda _: ThreadedEnv(make),
            limits=Limits(max_turns=5, step_timeout_s=0.3),
            source=Source.REAL,
            max_concurrent=1,
        )
    )
    assert [t.stop for t in done] == [
        StopReason.ENV_TIMEOUT,
        StopReason.TERMINATED,
        StopReason.TERMINATED,
    ]
    assert ABANDONED.count == before + 1


def test_a_threaded_world_plays_like_an_inline_one() -> None:
    threaded, inline = play(ThreadedEnv(BlockingEnv)), play(BlockingEnv())
    assert threaded == inline


def test_the_config_says_what_stands_between_the_rollout_and_the_world() -> None:
    world = CorridorWorld()
    inline = isolate(world, config=WorldConfig(name="corridor"))
    assert isinstance(inline.make(), CorridorEnv)
    assert inline.concurrency(64) == 64
    threaded = isolate(world, config=WorldConfig(name="corridor", isolation=Isolation.THREAD))
    assert isinstance(threaded.make(), ThreadedEnv)
    apart = isolate(world, config=WorldConfig(name="corridor", isolation=Isolation.PROCESS))
    assert isinstance(apart.make(), ProcessEnv)
    assert apart.concurrency(64) == WorkerConfig().num
    apart.close()


def test_a_threaded_world_that_cannot_be_made_or_closed_is_recorded() -> None:
    def fail() -> BlockingEnv:
        raise OSError("no java")

    assert "no java" in play(ThreadedEnv(fail)).error

    class Unclosable(BlockingEnv):
        async def close(self) -> None:
            raise OSError("busy")

    assert play(ThreadedEnv(Unclosable)).stop is StopReason.TERMINATED
