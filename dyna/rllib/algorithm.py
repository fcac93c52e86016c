"""`Dyna`: one round of `dyna.loop.DynaLoop` per training step, on RLlib's actors.

    DynaConfig().dyna(run_config=config, build="experiments.build").build_algo().train()

What can be trained, and how, is all in the `RunConfig`; RLlib's own settings say only where it
runs. RLlib starts and restarts the actors, gathers metrics, and makes the run a Tune trial. What is
learned, and from what, is the same loop as on a laptop. A checkpoint is ours alone: safetensors,
JSON and Parquet, complete with the replay buffer, and reading one runs no code.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, cast

from gymnasium.spaces import Text
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.learner_group import LearnerGroup
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.tune import PlacementGroupFactory

from dyna import checkpoint, configuring
from dyna.cluster.engine_pool import EnginePool
from dyna.cluster.placement import learner_group, trial_bundles
from dyna.cluster.remote_engine import RemoteEngine
from dyna.config import RunConfig
from dyna.engines.making import language_models
from dyna.files import read_json, write_json
from dyna.rllib.crew import RLlibCrew
from dyna.rllib.env_runner import DynaEnvRunner
from dyna.rllib.learner import TokenLearner, is_sharded, trainer_arguments
from dyna.rllib.module import TokenModule
from dyna.rllib.parts import POLICY, ROLES, WORLD_MODEL, Run, find_factory, freeze, thaw
from dyna.rllib.trainer import RLlibTrainer
from dyna.training.models import load_model
from dyna.training.trainer import TokenTrainer
from dyna.types import Metrics

_SETTINGS = "rllib.json"
_CONFIG = "config.yaml"
_FORMAT = "dyna-rllib-1"


class DynaConfig(AlgorithmConfig):
    """RLlib's configuration of a Dyna run."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or Dyna)
        self.run_config: dict[str, Any] = freeze(RunConfig())
        """The resolved `RunConfig` as plain values."""
        self.factory = "experiments.build"
        """Makes the parts: `package.module` or `package.module:Name`, see `dyna.rllib.parts`."""
        self.min_healthy_env_runners = 1
        """With fewer for longer than `env_runner_restore_timeout_s` the run ends."""
        self._fit_language_models()

    def dyna(
        self,
        *,
        run_config: RunConfig | None = None,
        build: str | None = None,
        min_healthy_env_runners: int | None = None,
    ) -> Self:
        """Set the run; the numbers of env runners and learners are taken from its `runtime`."""
        if run_config is not None:
            self.run_config = freeze(run_config)
            runtime = run_config.runtime
            self.env_runners(
                num_env_runners=runtime.num_env_runners,
                num_cpus_per_env_runner=cast(Any, runtime.cpus_per_env_runner),
                num_gpus_per_env_runner=runtime.gpus_per_env_runner,
                sample_timeout_s=runtime.runner_timeout_s,
            )
            self.fault_tolerance(env_runner_restore_timeout_s=runtime.placement_timeout_s)
            self.learners(
                num_learners=runtime.num_learners, num_gpus_per_learner=runtime.gpus_per_learner
            )
            # RLlib seeds only 32 bits; everything of ours takes its seed from the run's own.
            self.debugging(seed=run_config.seed % 2**31)
        if build is not None:
            self.factory = build
        if min_healthy_env_runners is not None:
            self.min_healthy_env_runners = min_healthy_env_runners
        return self

    def get_multi_rl_module_spec(self, **_: Any) -> MultiRLModuleSpec:
        """The policy and the world model, each a language model of its own."""
        config = thaw(self.run_config)
        models = {POLICY: config.policy.model, WORLD_MODEL: config.world_model.model}
        if is_sharded(config):
            # Each learner's part moves to its GPU, which need not have room for the whole.
            models = {role: replace(model, device="cpu") for role, model in models.items()}
        return MultiRLModuleSpec(
            rl_module_specs={role: _spec(asdict(model)) for role, model in models.items()}
        )

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return _spec(asdict(thaw(self.run_config).policy.model))

    def build_learner_group(self, **arguments: Any) -> LearnerGroup:
        """Beside the run's engines, where they share GPUs."""
        arguments["placement_group"] = learner_group(thaw(self.run_config))
        return super().build_learner_group(**arguments)

    def get_default_learner_class(self) -> type:
        return TokenLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return {}

    def _fit_language_models(self) -> None:
        self.framework("torch")
        self.env_runners(
            env_runner_cls=DynaEnvRunner,
            # Episodes of language models outlast RLlib's minute; later ones would be dropped.
            sample_timeout_s=3600.0,
        )
        self.fault_tolerance(
            restart_failed_env_runners=True,
            max_num_env_runner_restarts=100,
            delay_between_env_runner_restarts_s=0.0,
            env_runner_restore_timeout_s=120.0,
        )
        self.evaluation(evaluation_interval=None, evaluation_num_env_runners=0)
        # Weights go by stamped, blocking pushes. RLlib's own are dropped while one is under way.
        self.merge_env_runner_states = False
        self.broadcast_env_runner_states = False
        self._dont_auto_sync_env_runner_states = True


class Dyna(Algorithm):
    """The Dyna loop as an RLlib algorithm; see `DynaConfig`."""

    @classmethod
    def get_default_config(cls) -> DynaConfig:
        return DynaConfig(algo_class=cls)

    def setup(self, config: Any) -> None:
        self.engines = self._start_engines()
        try:
            self._set_up_run(config)
        except BaseException:
            if self.engines is not None:
                self.engines.close()
            raise

    def cleanup(self) -> None:
        """End every actor of the run."""
        super().cleanup()
        if self.engines is not None:
            self.engines.close()

    def _start_engines(self) -> EnginePool | None:
        """The run's engine actors, which env runners look for as soon as they are made."""
        settings = cast(DynaConfig, self.config)
        config = thaw(settings.run_config)
        if not config.engine.num_actors:
            return None
        pool = EnginePool(config, models=language_models(config))
        runtime = replace(config.runtime, engine_group=pool.group)
        settings = settings.copy(copy_frozen=False)
        settings.run_config = freeze(replace(config, runtime=runtime))
        settings.freeze()
        self.config = settings
        return pool

    def _set_up_run(self, config: Any) -> None:
        super().setup(config)
        settings = cast(DynaConfig, self.config)
        self.run_config = thaw(settings.run_config)
        self.round = -1
        """The last round that was finished; -1 before the first, which is number 0."""
        self.round_metrics: Metrics = {}
        """Of that round, and nothing else: RLlib's result keeps a NaN for what it saw before."""
        self._rounds: Iterator[tuple[int, Metrics]] | None = None
        group = cast(EnvRunnerGroup, self.env_runner_group)
        runner = cast(DynaEnvRunner, group.local_env_runner)
        for store in runner.player.stores.values():
            if self.engines is not None and isinstance(store, RemoteEngine):
                store.publish = self.engines.push
        self.crew = RLlibCrew(
            group=group,
            player=runner.player,
            engines=self.engines,
            min_healthy=min(settings.min_healthy_env_runners, group.num_remote_env_runners()),
            sample_timeout_s=cast(float, settings.sample_timeout_s),
            recovery_timeout_s=cast(float, settings.env_runner_restore_timeout_s),
        )
        trainers = self._make_trainers()
        self.run: Run = find_factory(settings.factory).build_run(
            self.run_config,
            player=runner.player,
            crew=self.crew,
            # A part without an engine is no language model, and learns by itself.
            trainers={role: trainers[role] for role in runner.player.stores},
        )
        self.crew.published = self.run.published
        if self.engines is not None:
            self.engines.sleep()
        self._refuse_what_cannot_travel()

    def training_step(self) -> None:
        """Play one round, the first being round 0, and log its numbers under `dyna`.

        Raises `RuntimeError` when the configured rounds are over.
        """
        last = self.run.loop.stream.last_round
        if self.round >= last:
            raise RuntimeError(f"all {last} rounds are played; raise `rounds` to go on")
        if self._rounds is None:
            self._rounds = self.run.loop.run(first_round=self.round + 1, last_round=last)
        if self.round >= 0:
            # Engines keep what they have read, and the last bits of a log-prob depend on that. New
            # weights empty them: a round begins alike whether the run was resumed before it or not.
            self.crew.share_policy()
            self.crew.share_model()
        try:
            self.round, metrics = next(self._rounds)
        except BaseException:
            # A generator that raised is spent; the round is played again from its beginning.
            self._rounds = None
            raise
        self.round_metrics = metrics | self.crew.metrics()
        for name, value in self.round_metrics.items():
            # RLlib's default is a moving average that takes a hundred rounds to move.
            self.metrics.log_value(("dyna", name), value, window=1)
        self.metrics.log_value(("dyna", "round"), self.round, window=1)

    def step(self) -> dict[str, Any]:
        """One round and its result; `done` with the last, so that Tune ends the trial."""
        result: dict[str, Any] = super().step()
        result["done"] = self.round >= self.run.loop.stream.last_round
        return result

    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """Measure policy and model on held-out tasks with the weights of this moment."""
        return {"dyna": dict(self.run.loop.evaluator.evaluate(max(self.round, 0)))}

    def restore_env_runners(self, env_runner_group: Any) -> list[int]:
        return self.crew.revive()

    def save_to_path(self, path: str | Path | None = None, **_: Any) -> str:
        """Write the whole state to a folder: what our parts save, and the configuration.

        Raises `ValueError` before the first round, when there is nothing to save, and what
        `dyna.checkpoint.save` raises.
        """
        if path is None:
            raise ValueError("save_to_path needs the folder to write to")
        if self.round < 0:
            raise ValueError("there is no state before the first round; call train() first")
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        settings = cast(DynaConfig, self.config)
        runtime = replace(self.run_config.runtime, engine_group="")
        configuring.save(replace(self.run_config, runtime=runtime), path=folder / _CONFIG)
        write_json(
            folder / _SETTINGS,
            value={
                "format": _FORMAT,
                "factory": settings.factory,
                "min_healthy_env_runners": settings.min_healthy_env_runners,
                "iteration": self.iteration,
            },
        )
        checkpoint.save(folder, round=self.round, parts=self.run.parts)
        return str(folder)

    def restore_from_path(self, path: str | Path, *_: Any, **__: Any) -> None:
        """Continue from what `save_to_path` wrote. No pickle is read.

        Raises `ValueError` when the folder holds no whole checkpoint of this configuration.
        """
        folder = Path(path)
        _read_settings(folder)
        found = checkpoint.latest(folder)
        if found is None:
            raise ValueError(f"{folder} holds no whole checkpoint; restore from another one")
        self.round = checkpoint.restore(found, parts=self.run.parts)
        self._rounds = None
        self.crew.share_policy()
        self.crew.share_model()

    @classmethod
    def from_checkpoint(cls, path: Any, filesystem: Any = None, **_: Any) -> Self:
        """A new algorithm with the saved configuration and state."""
        folder = Path(path if isinstance(path, str | Path) else path.to_directory())
        settings = _read_settings(folder)
        config = cls.get_default_config().dyna(
            run_config=configuring.load(folder / _CONFIG),
            build=settings["factory"],
            min_healthy_env_runners=settings["min_healthy_env_runners"],
        )
        algorithm = cls(config=config)
        algorithm.restore_from_path(folder)
        algorithm._iteration = int(settings["iteration"])
        return algorithm

    @classmethod
    def default_resource_request(cls, config: Any) -> PlacementGroupFactory:
        """What a Tune trial reserves: what RLlib's actors need, and the engine actors."""
        factory = cast(PlacementGroupFactory, super().default_resource_request(config))
        settings = cls.get_default_config().update_from_dict(config)
        run_config = thaw(settings.run_config)
        if not run_config.engine.num_actors:
            return factory
        return PlacementGroupFactory(
            trial_bundles(
                run_config,
                others=factory.bundles,
                num_roles=len(language_models(run_config)),
            ),
            strategy=factory.strategy,
        )

    @classmethod
    def _should_create_evaluation_env_runners(cls, eval_config: Any) -> bool:
        """Never: the crew that plays for training plays for evaluation too."""
        return False

    def _refuse_what_cannot_travel(self) -> None:
        """What learns without weights to push would be played untaught by the env runners."""
        loop, crew = self.run.loop, self.crew.player.crew
        learns_itself = {
            POLICY: cast(object, loop.policy_learner) is crew.behaviors["policy"],
            WORLD_MODEL: cast(object, loop.model_learner) is crew.model,
        }
        for role, alone in learns_itself.items():
            if alone and self.crew.group.num_remote_env_runners():
                raise ValueError(
                    f"the {role} learns within itself, and what it learns cannot be sent to env "
                    "runners; set runtime.num_env_runners to 0, or use one with an engine"
                )

    def _make_trainers(self) -> dict[str, TokenTrainer]:
        group = cast(LearnerGroup, self.learner_group)
        if group.is_local:
            # The local learner's own trainers are plain ones: same numbers, to the last bit.
            local: Any = group.foreach_learner(_trainers).result_or_errors[0].get()
            return local
        models = {
            role: self.run_config.policy.model
            if role == POLICY
            else self.run_config.world_model.model
            for role in ROLES
        }
        return {
            role: RLlibTrainer(
                # The driver's replica is there to be copied; GPUs belong to those that compute.
                load_model(replace(models[role], device="cpu")),
                group=group,
                role=role,
                arguments=trainer_arguments(self.run_config, role=role),
            )
            for role in ROLES
        }


def _trainers(learner: Any, *_: Any) -> dict[str, TokenTrainer]:
    return dict(cast(TokenLearner, learner).trainers)


def _read_settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = read_json(folder / _SETTINGS)
    if settings.get("format") != _FORMAT:
        raise ValueError(
            f"{folder / _SETTINGS} must have format {_FORMAT!r}, got "
            f"{json.dumps(settings.get('format'))}"
        )
    return settings


def _spec(model_config: dict[str, Any]) -> RLModuleSpec:
    # RLlib asks for spaces; nothing is ever drawn from them or checked against them.
    text = Text(max_length=2**20)
    return RLModuleSpec(
        module_class=TokenModule,
        observation_space=text,
        action_space=text,
        model_config=model_config,
    )
