"""`Dyna` under Ray Tune: trials that are one run's configuration, each with some keys changed.

    tuner(config, space={"real.group_size": tune.choice([1, 4])}, ...).fit()

A trial's state is saved as any run's is, without pickles: `Dyna.from_checkpoint` opens what a trial
left, and reads none of the pickled notes that Tune keeps beside it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ray import tune
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.result_grid import ResultGrid
from ray.tune.schedulers import TrialScheduler

from dyna.config import RunConfig
from dyna.configuring import changed
from dyna.rllib.algorithm import Dyna, DynaConfig
from dyna.rllib.parts import freeze, thaw

METRIC = "dyna/eval/real_success"
"""What trials are compared by, after every round; needs `evaluation.every=1`."""
TIME = "training_iteration"
"""Rounds played, round 0 included."""
_RUN, _FACTORY, _CHANGES = "run_config", "factory", "changes"


class DynaTrial(Dyna):
    """`Dyna` with the configuration that Tune chose."""

    def __init__(self, config: Any = None, *arguments: Any, **others: Any) -> None:
        super().__init__(_settings(config), *arguments, **others)

    @classmethod
    def default_resource_request(cls, config: Any) -> Any:
        """CPUs and GPUs of the driver, its env runners and its learners."""
        return super().default_resource_request(_settings(config).to_dict())


def tuner(
    config: RunConfig,
    *,
    space: Mapping[str, Any],
    output: Path,
    name: str,
    build: str = "experiments.build",
    scheduler: TrialScheduler | None = None,
    num_samples: int = 1,
    max_concurrent: int | None = None,
    callbacks: Sequence[tune.Callback] = (),
) -> tune.Tuner:
    """A sweep over `config`; its state is kept in `output/name`, which all nodes must reach.

    `space` maps keys, such as `real.group_size`, to values and searches (`tune.choice`,
    `tune.grid_search`, ...), or is itself one search over such mappings, for keys that change
    together. Every trial checkpoints after each round, so it can be paused, killed and continued.
    """
    return tune.Tuner(
        DynaTrial,
        param_space={_RUN: freeze(config), _FACTORY: build, _CHANGES: space},
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            scheduler=scheduler,
            num_samples=num_samples,
            max_concurrent_trials=max_concurrent,
        ),
        run_config=tune.RunConfig(
            name=name,
            storage_path=str(output.resolve()),
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=2, checkpoint_frequency=1, checkpoint_at_end=True
            ),
            failure_config=tune.FailureConfig(max_failures=2),
            callbacks=list(callbacks),
            verbose=0,
        ),
    )


def continued(folder: Path) -> tune.Tuner:
    """The sweep in `folder` that was interrupted: finished trials stay, others go on.

    Raises `ValueError` where there is none.
    """
    if not tune.Tuner.can_restore(str(folder.resolve())):
        raise ValueError(f"{folder} holds no sweep that can be continued; start it anew")
    return tune.Tuner.restore(
        str(folder.resolve()), trainable=DynaTrial, resume_unfinished=True, restart_errored=False
    )


def best_checkpoint(results: ResultGrid) -> Path:
    """The last checkpoint of the trial with the best real success, for `Dyna.from_checkpoint`.

    Raises `RuntimeError` when no trial has one.
    """
    best = results.get_best_result(metric=METRIC, mode="max")
    if best.checkpoint is None:
        raise RuntimeError(f"the best trial in {results.experiment_path} left no checkpoint")
    return Path(best.checkpoint.path)


def _settings(chosen: Any) -> DynaConfig:
    """RLlib's configuration of the trial for which Tune chose these values."""
    values: dict[str, Any] = chosen.to_dict() if isinstance(chosen, AlgorithmConfig) else chosen
    changes: dict[str, Any] = values.get(_CHANGES) or {}
    config = changed(
        thaw(values[_RUN]), changes={key: _native(value) for key, value in changes.items()}
    )
    return DynaConfig(algo_class=DynaTrial).dyna(run_config=config, build=values[_FACTORY])


def _native(value: object) -> object:
    """Tune draws numbers of NumPy's types."""
    return value.item() if isinstance(value, np.generic) else value


__all__ = ["METRIC", "TIME", "DynaTrial", "best_checkpoint", "continued", "tuner"]
