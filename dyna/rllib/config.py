"""`DynaConfig`: a run's own configuration inside RLlib's.

    DynaConfig().dyna(run_config=config, build="experiments.build").build_algo().train()

What can be trained, and how, is all in the `RunConfig`; RLlib's own settings only say where it
runs. Those that do not fit language models are set here, once.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from dataclasses import asdict
from typing import Any, Self

from gymnasium.spaces import Text
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from dyna.config import RunConfig
from dyna.rllib.parts import POLICY, WORLD_MODEL, freeze, thaw


class DynaConfig(AlgorithmConfig):
    """RLlib's configuration of a Dyna run."""

    def __init__(self, algo_class: type | None = None) -> None:
        if algo_class is None:
            from dyna.rllib.algorithm import Dyna

            algo_class = Dyna
        super().__init__(algo_class=algo_class)
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
            self.env_runners(num_env_runners=run_config.runtime.num_env_runners)
            self.learners(num_learners=run_config.runtime.num_learners)
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
        return MultiRLModuleSpec(
            rl_module_specs={role: _spec(asdict(model)) for role, model in models.items()}
        )

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        return _spec(asdict(thaw(self.run_config).policy.model))

    def get_default_learner_class(self) -> type:
        from dyna.rllib.learner import TokenLearner

        return TokenLearner

    @property
    def _model_config_auto_includes(self) -> dict[str, Any]:
        return {}

    def _fit_language_models(self) -> None:
        from dyna.rllib.env_runner import DynaEnvRunner

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


def _spec(model_config: dict[str, Any]) -> RLModuleSpec:
    from dyna.rllib.module import TokenModule

    # RLlib asks for spaces; nothing is ever drawn from them or checked against them.
    text = Text(max_length=2**20)
    return RLModuleSpec(
        module_class=TokenModule,
        observation_space=text,
        action_space=text,
        model_config=model_config,
    )
