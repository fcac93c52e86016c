"""The Dyna loop on Ray RLlib: `Dyna(Algorithm)` and `DynaConfig(AlgorithmConfig)`.

RLlib carries distribution, restarts, metrics, checkpoints and Tune; nothing outside this package
imports it. The two names are loaded when first asked for, so that `dyna.cluster.connection` can
set up Ray's environment before Ray itself is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dyna.rllib.algorithm import Dyna, DynaConfig

__all__ = ["Dyna", "DynaConfig"]


def __getattr__(name: str) -> Any:
    if name == "Dyna":
        from dyna.rllib.algorithm import Dyna

        return Dyna
    if name == "DynaConfig":
        from dyna.rllib.algorithm import DynaConfig

        return DynaConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
