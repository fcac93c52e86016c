"""One-step predictions of any world model, on the real prefixes of real episodes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dyna.evaluation.fidelity import TurnScore, word_f1
from dyna.protocols import WorldModel
from dyna.types import Outcome, StopReason, Trajectory, Turn

_MAX_AT_ONCE = 64
"""Episodes that are asked about beside each other."""


def predict_turns(model: WorldModel, trajectories: Sequence[Trajectory]) -> list[TurnScore]:
    """Ask for every turn. Turns of one episode are asked for one after the other, episodes beside
    each other; the scores come in the order of the turns."""
    gate = asyncio.Semaphore(_MAX_AT_ONCE)

    async def ask(episode: Trajectory) -> list[TurnScore]:
        async with gate:
            return [
                score_prediction(
                    turn,
                    predicted=await model.predict(episode.context(index), turn.action),
                    trajectory_id=episode.id,
                )
                for index, turn in enumerate(episode.turns)
            ]

    async def ask_all() -> list[TurnScore]:
        answers = await asyncio.gather(*map(ask, trajectories))
        return [score for of_episode in answers for score in of_episode]

    return asyncio.run(ask_all())


def score_prediction(turn: Turn, *, predicted: Outcome, trajectory_id: str) -> TurnScore:
    """A prediction that is no answer is wrong in everything."""
    real = turn.outcome
    is_answer = predicted.stop in (None, StopReason.TERMINATED)
    observation = is_answer and predicted.observation.strip() == real.observation.strip()
    reward = is_answer and predicted.reward == real.reward
    termination = is_answer and predicted.terminated == real.terminated
    return TurnScore(
        exact=observation and reward and termination and predicted.success == real.success,
        observation_exact=observation,
        reward_exact=reward,
        termination_exact=termination,
        confidence=predicted.confidence,
        predicted_success=is_answer and predicted.success,
        success=real.success,
        kind=turn.action.command.partition(" ")[0],
        valid=real.valid,
        depth=1,
        trajectory_id=trajectory_id,
        f1=word_f1(predicted.observation, real.observation) if is_answer else 0.0,
    )


__all__ = ["predict_turns", "score_prediction"]
