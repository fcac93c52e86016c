"""Config to objects: the only place where all parts meet.

`build_player` makes what plays, in every process; `build_run` makes what learns and the loop around
it, in the driver. A policy or world model that takes an `engine` is a language model and learns
through a trainer, unless the engine is a server with a model of its own; one that is a learner
itself learns by itself; any other stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from agents.learner import LLMPolicyLearner
from dyna.cluster.engines import player_engines
from dyna.config import PluginConfig, PolicyConfig, RunConfig
from dyna.crew import LocalCrew
from dyna.engines.making import language_models, trained_models
from dyna.ledger import Ledger
from dyna.loop import Crew, DynaLoop, Journal, SilentWatch
from dyna.plugins import build, resolve
from dyna.protocols import (
    Engine,
    HasExpert,
    HasExplorer,
    Policy,
    PolicyLearner,
    ReplayBuffer,
    Stateful,
    World,
    WorldModelLearner,
)
from dyna.rendering import Renderer
from dyna.rllib.parts import POLICY, WORLD_MODEL, Player, Run, Weights
from dyna.seeding import derive_seed
from dyna.spending import METER
from dyna.stream import Stream, world_of
from dyna.training.models import load_model, load_tokenizer
from dyna.training.trainer import TokenTrainer
from dyna.types import Context, Metrics, Trajectory, TrajectoryGroup
from experiments.evaluation import HeldOutEvaluator, Score
from experiments.guards import make_alarm, make_drift_watch, make_rehearsal
from experiments.watch import Progress
from worldmodels.chat import ChatWorldModel, ChatWorldModelLearner
from worldmodels.learner import LLMWorldModelLearner
from worldmodels.scoring import score_turns
from worldmodels.surprise import surprise


def build_player(config: RunConfig) -> Player:
    """World, policies, world model and engines, with the weights that the config names."""
    torch.set_num_threads(config.runtime.threads)
    # What the run may spend is shared out; nobody can spend what another has left.
    METER.open(limit=config.max_spend / max(1, config.runtime.num_env_runners))
    own = world_of(config)
    world: World = build("environments", own)
    stores = player_engines(config, models=language_models(config))
    policy = build(
        "policies",
        _without_prompt(config.policy) if _is_language(config, POLICY) else config.policy,
        **_language(config, POLICY, stores=stores),
        **_scripts(world),
        actions=config.policy.actions,
        parser=resolve("parsers", config.policy.parser),
        temperature=config.policy.temperature,
        max_new_tokens=config.policy.max_new_tokens,
        seed=derive_seed(config.seed, "policy"),
    )
    model = build(
        "world_models",
        config.world_model,
        **_language(config, WORLD_MODEL, stores=stores),
        world=world,
        use_hidden_state=config.world_model.use_hidden_state,
        max_new_tokens=config.world_model.max_new_tokens,
        seed=derive_seed(config.seed, "world_model"),
    )
    crew = LocalCrew(
        world=world,
        behaviors=_Behaviors(config, policy=policy, world=world),
        model=model,
        config=own,
        imagination=config.imagination,
        max_concurrent=config.engine.max_batch,
        request_timeout_s=config.engine.request_timeout_s,
    )
    examples = {WORLD_MODEL: model} if isinstance(model, ChatWorldModel) else {}
    return Player(crew=crew, stores={**stores, **examples})


def build_trainers(config: RunConfig) -> dict[str, TokenTrainer]:
    """The in-process trainers by role; none for a part that is no language model."""
    learner = config.policy_learner
    trainers: dict[str, TokenTrainer] = {}
    if POLICY in trained_models(config):
        trainers[POLICY] = TokenTrainer(
            load_model(config.policy.model),
            optimizer=learner.optimizer,
            clip_low=learner.clip_low,
            clip_high=learner.clip_high,
        )
    if WORLD_MODEL in trained_models(config):
        trainers[WORLD_MODEL] = TokenTrainer(
            load_model(config.world_model.model), optimizer=config.world_model_learner.optimizer
        )
    return trainers


def build_run(
    config: RunConfig,
    *,
    player: Player,
    crew: Crew,
    trainers: Mapping[str, TokenTrainer],
    journal: Journal | None = None,
    progress: Progress | None = None,
) -> Run:
    """The loop around `crew`, and everything of it that a checkpoint holds."""
    on_step = progress.on_step if progress else None
    trained = trained_models(config)
    trainers = {role: trainer for role, trainer in trainers.items() if role in trained}
    replay = _replay(config)
    model_learner = _model_learner(config, player=player, trainers=trainers, on_step=on_step)
    policy_learner = _policy_learner(config, player=player, trainers=trainers, on_step=on_step)
    ledger = Ledger(meter=METER)
    published = _publish(player, trainers=trainers, model_learner=model_learner)
    loop = DynaLoop(
        world=player.crew.world,
        crew=crew,
        replay=replay,
        model_learner=model_learner,
        policy_learner=policy_learner,
        ledger=ledger,
        evaluator=HeldOutEvaluator(
            world=player.crew.world,
            crew=crew,
            ledger=ledger,
            config=config.evaluation,
            seed=config.seed,
            step_timeout_s=config.world.step_timeout_s,
            score=_scorer(config, trainers=trainers),
        ),
        stream=Stream.of(config),
        imagination=config.imagination,
        seed=config.seed,
        max_real_steps=config.max_real_steps,
        max_turns=config.world.max_turns,
        first_task=config.world.first_task,
        evaluate_every=config.evaluation.every,
        journal=journal,
        drift=make_drift_watch(
            config,
            score=_surprise(config, trainers=trainers),
            parts=[replay, model_learner, policy_learner],
        ),
        rehearser=make_rehearsal(
            config, world=player.crew.world, crew=crew, replay=replay, ledger=ledger
        ),
        alarm=make_alarm(
            config, crew=crew, replay=replay, ledger=ledger, policy_learner=policy_learner
        ),
        watch=progress or SilentWatch(),
    )
    return Run(loop=loop, parts=_parts(loop), published=published)


def _parts(loop: DynaLoop) -> dict[str, Stateful]:
    """What a checkpoint holds."""
    candidates = {
        "evaluator": loop.evaluator,
        "replay": loop.replay,
        "ledger": loop.ledger,
        "world_model": loop.model_learner,
        "policy": loop.policy_learner,
        "alarm": loop.alarm,
        "drift": loop.drift,
    }
    return {name: part for name, part in candidates.items() if isinstance(part, Stateful)}


def _replay(config: RunConfig) -> ReplayBuffer:
    return build(
        "replay_buffers",
        config.replay,
        max_transitions=config.replay.max_transitions,
        max_bytes=config.replay.max_bytes,
        seed=derive_seed(config.seed, "replay"),
        accept_rehearsed=_has_generative_replay(config),
    )


def _has_generative_replay(config: RunConfig) -> bool:
    return config.rehearsal.into_model and config.rehearsal.episodes > 0


def _without_prompt(policy: PolicyConfig) -> PolicyConfig:
    """A language model's system prompt belongs to its renderer, which is offered to it."""
    params = {key: value for key, value in policy.params.items() if key != "system_prompt"}
    return replace(policy, params=params)


def build_renderer(config: RunConfig, role: str) -> Renderer:
    section = config.policy if role == POLICY else config.world_model
    prompt = str(config.policy.params.get("system_prompt", "")) if role == POLICY else ""
    return Renderer(
        load_tokenizer(section.model), max_context=section.model.max_context, system_prompt=prompt
    )


class _Behaviors(dict[str, Policy]):
    """Who can act. The scripted ones are made when first asked for: not every world has them."""

    def __init__(self, config: RunConfig, *, policy: Policy, world: World) -> None:
        super().__init__(policy=policy)
        self._config = config
        self._world = world

    def __missing__(self, name: str) -> Policy:
        real, policy = self._config.real, self._config.policy
        configured = {"expert": real.expert, "exploration": real.exploration}
        self[name] = build(
            "policies",
            configured.get(name, PluginConfig(name=name)),
            **_scripts(self._world),
            # An expert that is a model answers in the way that the policy is to learn from it.
            actions=policy.actions,
            parser=resolve("parsers", policy.parser),
            seed=derive_seed(self._config.seed, name),
        )
        return self[name]


class FixedPolicyLearner:
    """For a policy that does not learn."""

    def imitate(self, demonstrations: Sequence[Trajectory]) -> Metrics:
        return {}

    def update(self, groups: Sequence[TrajectoryGroup]) -> Metrics:
        return {}


class FixedWorldModelLearner:
    """For a world model that does not learn."""

    def update(self, fresh: Sequence[Trajectory], replay: ReplayBuffer) -> Metrics:
        return {}


def _is_language(config: RunConfig, role: str) -> bool:
    return role in language_models(config)


def _language(config: RunConfig, role: str, *, stores: Mapping[str, Engine]) -> dict[str, Any]:
    """An engine and a renderer for a part that takes them."""
    if not _is_language(config, role):
        return {}
    return {"engine": stores[role], "renderer": build_renderer(config, role)}


def _scripts(world: World) -> dict[str, Any]:
    """What a world offers to scripted policies."""
    scripts: dict[str, Callable[[Context], str]] = {}
    if isinstance(world, HasExpert):
        scripts["expert"] = world.expert
    if isinstance(world, HasExplorer):
        scripts["explorer"] = world.explorer
    return scripts


def _policy_learner(
    config: RunConfig,
    *,
    player: Player,
    trainers: Mapping[str, TokenTrainer],
    on_step: Callable[[int, int], None] | None,
) -> PolicyLearner:
    if POLICY in trainers:
        return LLMPolicyLearner(
            trainers[POLICY],
            renderer=build_renderer(config, POLICY),
            algorithm=build("algorithms", config.policy_learner.algorithm),
            config=config.policy_learner,
            seed=derive_seed(config.seed, "policy_learner"),
            on_step=on_step,
        )
    policy = player.crew.behaviors["policy"]
    return policy if isinstance(policy, PolicyLearner) else FixedPolicyLearner()


def _model_learner(
    config: RunConfig,
    *,
    player: Player,
    trainers: Mapping[str, TokenTrainer],
    on_step: Callable[[int, int], None] | None,
) -> WorldModelLearner:
    if WORLD_MODEL in trainers:
        return LLMWorldModelLearner(
            trainers[WORLD_MODEL],
            build_renderer(config, WORLD_MODEL),
            config.world_model_learner,
            use_hidden_state=config.world_model.use_hidden_state,
            seed=derive_seed(config.seed, "model_learner"),
            rehearsed=_has_generative_replay(config),
            regularizers=[
                build("regularizers", regularizer)
                for regularizer in config.world_model_learner.regularizers
            ],
            on_step=on_step,
        )
    model = player.crew.model
    if isinstance(model, ChatWorldModel):
        return ChatWorldModelLearner(model, seed=derive_seed(config.seed, "model_learner"))
    return model if isinstance(model, WorldModelLearner) else FixedWorldModelLearner()


def _publish(
    player: Player, *, trainers: Mapping[str, TokenTrainer], model_learner: WorldModelLearner
) -> dict[str, Callable[[], Weights]]:
    """Let the driver's own player take the learned weights; returns where all others get them."""
    published: dict[str, Callable[[], Weights]] = {}
    if POLICY in trainers:
        trainer = trainers[POLICY]

        def publish_policy() -> None:
            player.stores[POLICY].load_weights(trainer.weights(), version=trainer.version)
            player.crew.behaviors["policy"].version = trainer.version

        player.crew.publish_policy = publish_policy
        published[POLICY] = lambda: Weights(tensors=trainer.weights(), version=trainer.version)
    if isinstance(model_learner, LLMWorldModelLearner):
        learner = model_learner

        def publish_model() -> None:
            player.stores[WORLD_MODEL].load_weights(learner.live_weights(), version=learner.version)

        player.crew.publish_model = publish_model
        published[WORLD_MODEL] = lambda: Weights(
            tensors=learner.live_weights(), version=learner.version
        )
    if isinstance(model_learner, ChatWorldModelLearner):
        chat = model_learner.model
        published[WORLD_MODEL] = lambda: Weights(tensors=chat.weights(), version=chat.version)
    return published


def _surprise(
    config: RunConfig, *, trainers: Mapping[str, TokenTrainer]
) -> Callable[[Sequence[Trajectory]], Mapping[str, float]] | None:
    """The live world model's loss on real episodes, if it is a language model."""
    if WORLD_MODEL not in trainers:
        return None
    return partial(
        surprise,
        trainers[WORLD_MODEL].model,
        build_renderer(config, WORLD_MODEL),
        use_hidden_state=config.world_model.use_hidden_state,
    )


def _scorer(config: RunConfig, *, trainers: Mapping[str, TokenTrainer]) -> Score | None:
    """One-step scores of the live world model on real episodes, if it is a language model."""
    if WORLD_MODEL not in trainers:
        return None
    return partial(
        score_turns,
        trainers[WORLD_MODEL].model,
        build_renderer(config, WORLD_MODEL),
        use_hidden_state=config.world_model.use_hidden_state,
    )
