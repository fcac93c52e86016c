"""Where real environments run: in the rollout's own loop, in threads, or in processes.

The rollout asks for an env and gives it back; what stands between it and the world is decided here,
by config, and the episodes are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dyna.config import Isolation, WorldConfig
from dyna.envs.processes import WorkerPool
from dyna.envs.threads import ThreadedEnv
from dyna.protocols import Env, World


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvSource:
    """Makes the envs of one world, one for each episode.

    Example: `source = isolate(world, config=config.world)`; at the end `source.close()`.
    """

    make: Callable[[], Env]
    max_envs: int | None = None
    """How many may be in use at once; None means any number."""
    close: Callable[[], None] = _nothing
    """Ends the processes, if there are any; envs made before answer no more."""

    def concurrency(self, wanted: int) -> int:
        """At most `wanted` episodes at once, and no more than there are envs for."""
        return wanted if self.max_envs is None else min(wanted, self.max_envs)


def isolate(world: World, *, config: WorldConfig) -> EnvSource:
    """The envs of `world`, isolated as its config says.

    In a process the world is made again from the config's name and params, so `world` must be the
    one that the config names.
    """
    if config.isolation is Isolation.INLINE:
        return EnvSource(make=world.make)
    if config.isolation is Isolation.THREAD:
        return EnvSource(make=lambda: ThreadedEnv(world.make))
    pool = WorkerPool(config.name, params=config.params, config=config.workers)
    return EnvSource(make=pool.make, max_envs=config.workers.num, close=pool.close)


__all__ = ["EnvSource", "isolate"]
