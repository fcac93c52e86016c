"""How well a world model answers in an API's place: exact match and word F1, as the paper has it.

"From Word to World" (arXiv 2512.18832) reports both over single pairs of tool use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from dyna.envs.toolbench.mirror import ToolBenchMirrorWorld
from dyna.evaluation.fidelity import fidelity_metrics
from dyna.evaluation.predictions import predict_turns
from dyna.protocols import WorldModel
from dyna.types import Action, Context, Metrics, StopReason, Task, Trajectory, Turn


def score_mirror(
    model: WorldModel, world: ToolBenchMirrorWorld, *, split: str, num: int, offset: int = 0
) -> Metrics:
    """`dyna.evaluation.fidelity.fidelity_metrics` over `num` pairs of a split.

    `model/observation_em` and `model/word_f1` are the paper's two figures; a prediction that is no
    answer scores 0 in both. `em_kind/<category>` tells the categories apart.
    """
    tasks = world.tasks(split=split, num=num, offset=offset)
    scores = predict_turns(model, asyncio.run(_answer_all(world, tasks=tasks)))
    return fidelity_metrics(
        [replace(score, kind=task.family) for score, task in zip(scores, tasks, strict=True)]
    )


async def _answer_all(world: ToolBenchMirrorWorld, *, tasks: Sequence[Task]) -> list[Trajectory]:
    """Each task's request with the real response: an episode of one turn."""
    env = world.make()
    episodes: list[Trajectory] = []
    for task in tasks:
        start = await env.reset(task)
        context = Context(task=task, start=start, turns=(), length=0)
        action = Action(command=world.expert(context))
        outcome = await env.step(action)
        # The world does not call its own task's request invalid; the API that refuses it does.
        turn = Turn(action=action, outcome=replace(outcome, valid=bool(outcome.valid)))
        episodes.append(
            Trajectory(
                id=task.id, task=task, start=start, turns=(turn,), stop=StopReason.TERMINATED
            )
        )
    await env.close()
    return episodes


__all__ = ["score_mirror"]
