"""A factory of tiny real parts for the tests on Ray: a corridor, and byte-level language models."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from agents.learner import LLMPolicyLearner
from agents.llm import LLMPolicy
from agents.scripted import ExpertPolicy, RandomPolicy
from dyna.cluster.engines import player_engines
from dyna.config import (
    ActionMode,
    EngineConfig,
    ImaginationConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyLearnerConfig,
    RealConfig,
    RunConfig,
    RuntimeConfig,
    WorldConfig,
    WorldModelConfig,
    WorldModelLearnerConfig,
)
from dyna.crew import LocalCrew
from dyna.engines.making import language_models
from dyna.envs.corridor import CorridorWorld
from dyna.imagination import Dream
from dyna.ledger import Ledger
from dyna.loop import Crew, DynaLoop
from dyna.plugins import build
from dyna.protocols import World, WorldModel
from dyna.rendering import Renderer
from dyna.replay import FifoBuffer
from dyna.rllib.parts import POLICY, WORLD_MODEL, Player, Run, Weights
from dyna.rollout import EpisodeSpec
from dyna.seeding import derive_seed
from dyna.stream import Stream
from dyna.summary import summarize
from dyna.training.models import load_tokenizer
from dyna.training.trainer import TokenTrainer
from dyna.types import Action, Context, Metrics, Source, Trajectory
from worldmodels.learner import LLMWorldModelLearner
from worldmodels.llm import LLMWorldModel


def tiny_config(
    model_folder: str, *, output: str = "", num_env_runners: int = 0, num_learners: int = 0
) -> RunConfig:
    """A run of seconds with `model_folder`'s language model."""
    model = ModelConfig(path=model_folder, max_context=768)
    optimizer = OptimizerConfig(tokens_per_batch=512, warmup_steps=1)
    return RunConfig(
        name="tiny",
        seed=3,
        rounds=3,
        output=output,
        engine=EngineConfig(max_batch=16),
        world=WorldConfig(name="corridor", max_turns=3, params={"num_doors": 2}),
        policy_learner=PolicyLearnerConfig(
            optimizer=optimizer, imitation_epochs=1, ref_kl=0.05, demonstration_weight=0.1
        ),
        world_model=WorldModelConfig(model=model, max_new_tokens=12),
        world_model_learner=WorldModelLearnerConfig(
            optimizer=optimizer, first_epochs=1.0, epochs=1.0
        ),
        policy=replace(RunConfig().policy, model=model, actions=ActionMode.ADMISSIBLE),
        real=RealConfig(demonstrations=2, explorations=2, episodes_per_round=4, group_size=2),
        imagination=ImaginationConfig(
            episodes_per_round=8, batches_per_round=1, group_size=4, horizon=2
        ),
        runtime=RuntimeConfig(num_env_runners=num_env_runners, num_learners=num_learners),
    )


def build_player(config: RunConfig) -> Player:
    renderer = _renderer(config.policy.model)
    engines = player_engines(config, models=language_models(config))
    crew = MortalCrew(
        world=CorridorWorld(num_doors=config.world.params["num_doors"], seed=config.seed),
        behaviors={
            "policy": MortalPolicy(
                engines[POLICY],
                renderer,
                actions=config.policy.actions,
                output=config.output,
            ),
            "expert": ExpertPolicy(_way_on),
            "exploration": RandomPolicy(),
        },
        model=cast(
            WorldModel,
            LLMWorldModel(
                engines[WORLD_MODEL], renderer, max_new_tokens=config.world_model.max_new_tokens
            ),
        ),
        config=config.world,
        imagination=config.imagination,
        request_timeout_s=config.engine.request_timeout_s,
        output=config.output,
    )
    return Player(crew=crew, stores=engines)


def build_run(
    config: RunConfig,
    *,
    player: Player,
    crew: Crew,
    trainers: Mapping[str, TokenTrainer],
) -> Run:
    renderer = _renderer(config.policy.model)
    policy = LLMPolicyLearner(
        trainers[POLICY],
        renderer=renderer,
        algorithm=build("algorithms", config.policy_learner.algorithm),
        config=config.policy_learner,
        seed=config.seed,
    )
    model = LLMWorldModelLearner(
        trainers[WORLD_MODEL], renderer, config.world_model_learner, seed=config.seed
    )
    published = {
        POLICY: lambda: Weights(tensors=policy.trainer.weights(), version=policy.version),
        WORLD_MODEL: lambda: Weights(tensors=model.live_weights(), version=model.version),
    }

    def publish(role: str) -> None:
        live = published[role]()
        player.stores[role].load_weights(live.tensors, version=live.version)
        if role == POLICY:
            player.crew.behaviors["policy"].version = live.version

    player.crew.publish_policy = lambda: publish(POLICY)
    player.crew.publish_model = lambda: publish(WORLD_MODEL)
    replay = FifoBuffer(max_transitions=200, max_bytes=10**7, seed=config.seed)
    journal = MemoryJournal()
    ledger = Ledger()
    loop = DynaLoop(
        world=player.crew.world,
        crew=crew,
        replay=replay,
        model_learner=model,
        policy_learner=policy,
        ledger=ledger,
        evaluator=Evaluation(crew, world=player.crew.world, seed=config.seed),
        stream=Stream.of(config),
        imagination=config.imagination,
        seed=config.seed,
        max_turns=config.world.max_turns,
        journal=journal,
    )
    parts: dict[str, Any] = {"policy": policy, "model": model, "replay": replay, "ledger": ledger}
    return Run(loop=loop, parts=parts, published=published)


class MortalPolicy(LLMPolicy):
    """Kills its process, once, before it acts, where the run's output folder holds `kill_act`;
    where it holds `hang_act`, never answers. The files are as those of `MortalCrew`."""

    def __init__(self, *parts: Any, output: str, **settings: Any) -> None:
        super().__init__(*parts, **settings)
        self._orders = Path(output)

    async def act(self, context: Context) -> Action:
        _die_once(self._orders / "kill_act")
        if _takes(self._orders / "hang_act"):
            await asyncio.Event().wait()
        return await super().act(context)


@dataclass(kw_only=True)
class MortalCrew(LocalCrew):
    """Kills its process, once, where the run's output folder holds `kill_play` or `kill_imagine`.

    The file holds the number of a process that must survive: the driver's. Whoever takes it away
    dies when it has played, before it can say so.
    """

    output: str

    def play(self, specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
        played = super().play(specs)
        _die_once(Path(self.output) / "kill_play")
        return played

    def imagine(self, dreams: Sequence[Dream]) -> list[Trajectory]:
        imagined = super().imagine(dreams)
        _die_once(Path(self.output) / "kill_imagine")
        return imagined


class MemoryJournal:
    """Remembers what was played, by round, for a test to look at."""

    def __init__(self) -> None:
        self.played: dict[int, list[Trajectory]] = {}

    def read(self, round: int) -> list[Trajectory] | None:
        return self.played.get(round)

    def write(self, round: int, trajectories: Sequence[Trajectory]) -> None:
        self.played[round] = list(trajectories)


class Evaluation:
    """Plays two held-out tasks greedily."""

    def __init__(self, crew: Crew, *, world: World, seed: int) -> None:
        self._crew = crew
        self._world = world
        self._seed = seed

    def evaluate(self, round: int) -> Metrics:
        played = self._crew.play(
            [
                EpisodeSpec(
                    task=task,
                    episode_id=f"evaluate{round}/{task.id}",
                    seed=derive_seed(self._seed, "evaluate", task.id),
                    greedy=True,
                )
                for task in self._world.tasks(split="valid_unseen", num=2)
            ]
        )
        metrics = summarize(played, source=Source.REAL)
        return {f"eval/{name}": value for name, value in metrics.items()}


def _die_once(order: Path) -> None:
    if _takes(order):
        os.kill(os.getpid(), signal.SIGKILL)


def _takes(order: Path) -> bool:
    """Whether this process is the one that takes the file away."""
    try:
        if int(order.read_text()) == os.getpid():
            return False
        order.rename(order.with_name(f"{order.name}.done"))
    except FileNotFoundError:
        return False
    return True


def _way_on(context: Context) -> str:
    words = (context.start.hidden_state or "").rstrip(".").partition(": ")[2].split(", ")
    return f"go {words[context.length]}"


def _renderer(model: ModelConfig) -> Renderer:
    return Renderer(load_tokenizer(model), max_context=model.max_context)
