"""Dyna-Q on a text corridor, through the loop itself: tables for the agent and for the model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from agents.scripted import RandomPolicy
from agents.tabular import TabularPolicy
from dyna.config import ImaginationConfig, RealConfig, WorldConfig
from dyna.crew import LocalCrew
from dyna.envs.corridor import CorridorWorld
from dyna.ledger import Ledger
from dyna.loop import DynaLoop
from dyna.protocols import World
from dyna.replay import ReservoirBuffer
from dyna.stream import Experience, Stream
from dyna.types import Metrics
from worldmodels.tabular import TabularWorldModel

MAX_TURNS = 200


class NoEvaluation:
    def evaluate(self, round: int) -> Metrics:
        return {}


def make_loop(
    *,
    seed: int = 0,
    world: World | None = None,
    real: RealConfig | None = None,
    stream: Stream | None = None,
    num_imagined: int = 0,
    imagination: ImaginationConfig | None = None,
    policy: TabularPolicy | None = None,
    max_turns: int = MAX_TURNS,
    on_share: Callable[[str], None] = lambda _: None,
    **settings: Any,
) -> DynaLoop:
    """One real episode per round and `num_imagined` dreams of 5 turns, unless told otherwise."""
    world = world or CorridorWorld(num_doors=8, seed=seed, max_turns=max_turns)
    agent, model = policy or TabularPolicy(), TabularWorldModel()
    real = real or RealConfig(demonstrations=0, explorations=0, episodes_per_round=1)
    stream = stream or Stream([Experience(real=real, rounds=1)])
    dreams = imagination or ImaginationConfig(
        episodes_per_round=num_imagined,
        batches_per_round=1,
        group_size=5,
        horizon=5,
        branch_fraction=0.9,
    )
    crew = LocalCrew(
        world=world,
        behaviors={"policy": agent, "exploration": RandomPolicy(), "expert": RandomPolicy()},
        model=model,
        config=WorldConfig(max_turns=max_turns),
        imagination=dreams,
        publish_policy=lambda: on_share("share policy"),
        publish_model=lambda: on_share("share model"),
    )
    settings = {
        "evaluator": NoEvaluation(),
        "ledger": Ledger(),
        "crew": crew,
        "replay": ReservoirBuffer(max_transitions=100_000, seed=seed),
    } | settings
    return DynaLoop(
        world=world,
        model_learner=model,
        policy_learner=agent,
        stream=stream,
        imagination=dreams,
        seed=seed,
        max_turns=max_turns,
        **settings,
    )


@cache
def real_turns(*, num_imagined: int, seed: int, rounds: int) -> tuple[int, ...]:
    """Turns that the real episode of each round took."""
    loop = make_loop(seed=seed, num_imagined=num_imagined)
    return tuple(
        int(metrics["real/turns"])
        for round, metrics in loop.run(first_round=0, last_round=rounds)
        if round
    )
