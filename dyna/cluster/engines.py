"""The engines that a player talks to: its own, or those of the run's engine actors."""

from __future__ import annotations

from collections.abc import Mapping

from dyna.config import ModelConfig, RunConfig
from dyna.engines.making import make_engines
from dyna.protocols import Engine


def player_engines(config: RunConfig, *, models: Mapping[str, ModelConfig]) -> dict[str, Engine]:
    """By role. With `engine.num_actors` the actors must be there, under `runtime.engine_group`.

    Raises `ConfigError` for what cannot be made, and `EngineLostError` where the actors are not.
    """
    if not config.engine.num_actors:
        return make_engines(config.engine, models=models) if models else {}
    # Importing Ray is left to those who need it; see `dyna.cluster.connection`.
    from dyna.cluster.remote_engine import find_engines

    return dict(find_engines(config, roles=tuple(models)))
