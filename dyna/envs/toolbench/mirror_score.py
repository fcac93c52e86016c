"""How well a world model answers in an API's place: exact match and word F1, as the paper has it.

"From Word to World" (arXiv 2512.18832) reports both over single pairs of tool use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dyna.envs.toolbench.mirror import ToolBenchMirrorWorld
from dyna.evaluation.fidelity import TurnScore, fidelity_metrics, word_f1
from dyna.protocols import WorldModel
from dyna.types import Action, Context, Metrics, Outcome, StopReason, Task

_MAX_AT_ONCE = 64


def score_mirror(
    model: WorldModel, world: ToolBenchMirrorWorld, *, split: str, num: int, offset: int = 0
) -> Metrics:
    """`dyna.evaluation.fidelity.fidelity_metrics` over `num` pairs of a split.

    `model/observation_em` and `model/word_f1` are the paper's two figures; a prediction that is no
    answer scores 0 in both. `em_kind/<category>` tells the categories apart.
    """
    tasks = world.tasks(split=split, num=num, offset=offset)
    scores = asyncio.run(_score_all(model, world, tasks=tasks))
    return fidelity_metrics(scores)


async def _score_all(
    model: WorldModel, world: ToolBenchMirrorWorld, *, tasks: Sequence[Task]
) -> list[TurnScore]:
    gate = asyncio.Semaphore(_MAX_AT_ONCE)

    async def score(task: Task) -> TurnScore:
        async with gate:
            return await _score(model, world, task=task)

    return list(await asyncio.gather(*map(score, tasks)))


async def _score(model: WorldModel, world: ToolBenchMirrorWorld, *, task: Task) -> TurnScore:
    env = world.make()
    start = await env.reset(task)
    context = Context(task=task, start=start, turns=(), length=0, episode_id=task.id, greedy=True)
    action = Action(command=world.expert(context))
    real = await env.step(action)
    await env.close()
    return _compare(await model.predict(context, action), real=real, task=task)


def _compare(said: Outcome, *, real: Outcome, task: Task) -> TurnScore:
    is_answer = said.stop in (None, StopReason.TERMINATED)
    observation = is_answer and said.observation.strip() == real.observation.strip()
    reward = is_answer and said.reward == real.reward
    ending = is_answer and said.terminated == real.terminated
    return TurnScore(
        exact=observation and reward and ending and said.success == real.success,
        observation_exact=observation,
        reward_exact=reward,
        termination_exact=ending,
        confidence=said.confidence,
        predicted_success=is_answer and said.success,
        success=real.success,
        kind=task.family,
        valid=bool(real.valid),
        depth=1,
        trajectory_id=task.id,
        f1=word_f1(said.observation, real.observation) if is_answer else 0.0,
    )


__all__ = ["score_mirror"]
