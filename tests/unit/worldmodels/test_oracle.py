"""The oracle answers as the world does, at any turn and in any order of conversations."""

from __future__ import annotations

import asyncio
import random

from dyna.envs.corridor import COMMANDS, CorridorWorld
from dyna.imagination import Dream, dream_envs
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.types import Action, Context, Outcome, Source, StopReason, Trajectory
from worldmodels import oracle
from worldmodels.oracle import OracleWorldModel

WORLD = CorridorWorld(num_doors=4, max_turns=50)


class Walker:
    """Any door, the same one at the same turn of the same episode."""

    version = 0

    async def act(self, context: Context) -> Action:
        return Action(command=random.Random(context.seed).choice(COMMANDS))


def specs(num: int) -> list[EpisodeSpec]:
    tasks = WORLD.tasks(split="train", num=num)
    return [EpisodeSpec(task=t, episode_id=f"e{k}", seed=k) for k, t in enumerate(tasks)]


def play(num: int) -> list[Trajectory]:
    return asyncio.run(
        rollout(
            specs(num),
            policy=Walker(),
            make_env=lambda _: WORLD.make(),
            limits=Limits(max_turns=12),
            source=Source.REAL,
        )
    )


def dream(model: OracleWorldModel, real: list[Trajectory]) -> list[Trajectory]:
    dreams = [
        Dream(spec=spec, start=t.start) for spec, t in zip(specs(len(real)), real, strict=True)
    ]
    return asyncio.run(
        rollout(
            [d.spec for d in dreams],
            policy=Walker(),
            make_env=dream_envs(dreams, model=model),
            limits=Limits(max_turns=12),
            source=Source.IMAGINED,
        )
    )


def told(outcome: Outcome) -> tuple[str, float, bool, bool]:
    return outcome.observation, outcome.reward, outcome.terminated, outcome.success


def check_equal(real: list[Trajectory], dreamt: list[Trajectory]) -> None:
    for true, imagined in zip(real, dreamt, strict=True):
        assert [told(t.outcome) for t in imagined.turns] == [told(t.outcome) for t in true.turns]
    assert any(t.stop is StopReason.TERMINATED for t in dreamt)


def test_its_dreams_are_the_real_episodes() -> None:
    real = play(20)
    check_equal(real, dream(OracleWorldModel(WORLD), real))


def test_conversations_that_were_closed_are_played_again() -> None:
    real = play(20)
    model = OracleWorldModel(WORLD)
    before, oracle._MAX_OPEN = oracle._MAX_OPEN, 3  # pyright: ignore[reportPrivateUsage]
    try:
        check_equal(real, dream(model, real))
    finally:
        oracle._MAX_OPEN = before  # pyright: ignore[reportPrivateUsage]


def test_it_answers_in_the_middle_of_an_episode() -> None:
    (episode,) = play(1)
    length = len(episode.turns) - 1
    answer = asyncio.run(
        OracleWorldModel(WORLD).predict(episode.context(length), episode.turns[length].action)
    )
    assert told(answer) == told(episode.turns[length].outcome)
