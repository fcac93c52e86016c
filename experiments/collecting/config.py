"""What `dyna collect` is told: the world, who plays in it and how often.

Read by the same door as a run's config, so a mistake is answered in the same words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dyna.config import EngineConfig, PolicyConfig, WorldConfig
from dyna.configuring import ConfigError, check_whole, load_tree
from dyna.validation import AT_LEAST_ONE, COUNT, POSITIVE, Range

POLICY = "policy"
"""The behavior that is played by a run's policy, or by the one that the config describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectConfig:
    name: str = "collection"
    """Begins the id of every episode; give two collections that are to be mixed two names."""
    seed: int = 0
    """Everything random follows from it."""
    world: WorldConfig = field(default_factory=WorldConfig)
    """Where it is played; `world.first_task` counts in every split."""
    splits: list[str] = field(default_factory=lambda: ["train"])
    """Splits of the world; a game that is in two of them is refused."""
    episodes: int = 1000
    """Episodes of each split."""
    episodes_per_task: int = 1
    """How often each task is played, each time by whom and as chance has it."""
    shares: dict[str, float] = field(default_factory=dict[str, float])
    """Share of the episodes by behavior: expert, noisy_expert, random, invalid, explorer, policy,
    or `package.module:Name`; they are weighed against each other. Empty: what the world allows."""
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    """Keyword arguments by behavior, as in `params.noisy_expert.noise=0.3`."""
    run: str = ""
    """Folder of a run: the behavior `policy` is what its newest checkpoint holds."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    """The behavior `policy`, where no run is named."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    apart_from: list[str] = field(default_factory=list[str])
    """Folders of other collections: a game that one of them has in another split is refused."""
    episodes_per_part: int = 64
    """Episodes of one file and of one piece of work; what is lost at most, for each worker, when
    the collection is stopped."""
    num_workers: int = 0
    """Ray actors that play; 0 plays in this process."""
    max_concurrent: int = 16
    """Episodes that each worker plays at once."""
    address: str = ""
    """Of a running Ray cluster; empty starts one on this machine when there are workers."""


_RANGES: dict[str, Range] = {
    "seed": Range(0, 2**63 - 1),
    "episodes": AT_LEAST_ONE,
    "episodes_per_task": AT_LEAST_ONE,
    "episodes_per_part": AT_LEAST_ONE,
    "num_workers": COUNT,
    "max_concurrent": AT_LEAST_ONE,
    "world.step_timeout_s": POSITIVE,
    "world.max_turns": AT_LEAST_ONE,
    "world.first_task": COUNT,
    "policy.temperature": POSITIVE,
    "policy.max_new_tokens": AT_LEAST_ONE,
    "engine.max_batch": AT_LEAST_ONE,
}


def load_collect(path: Path | None = None, *, overrides: Sequence[str] = ()) -> CollectConfig:
    """As `dyna.configuring.load`, for a collection. Raises `ConfigError`."""
    config = load_tree(CollectConfig, path=path, overrides=overrides)
    if found := _problems(config):
        raise ConfigError("\n".join(found))
    return config


def load_saved_collect(path: Path) -> CollectConfig:
    """The config that a collection was begun with. Raises `ConfigError`, for half a file too."""
    check_whole(path, root=CollectConfig)
    return load_collect(path)


def _problems(config: CollectConfig) -> list[str]:
    found: list[str] = []
    for name, bounds in _RANGES.items():
        value: Any = config
        for part in name.split("."):
            value = getattr(value, part)
        if value not in bounds:
            found.append(f"{name} must be {bounds}, got {value}")
    if not config.name or "/" in config.name:
        found.append(f"name must be usable as the name of a folder, got {config.name!r}")
    if not config.splits or len(set(config.splits)) < len(config.splits):
        found.append(f"splits must name each split once, and at least one; got {config.splits}")
    found += [
        f"shares.{name} must be >= 0, got {share}"
        for name, share in config.shares.items()
        if not 0 <= share < float("inf")
    ]
    if config.shares and not any(share > 0 for share in config.shares.values()):
        found.append("shares must give some behavior more than 0")
    for name, params in config.params.items():
        if not isinstance(params, dict):
            found.append(f"params.{name} must be a section of keyword arguments, got {params!r}")
        elif config.shares and not config.shares.get(name, 0):
            found.append(f"params.{name} is set, but `{name}` has no share of the episodes")
    return found


__all__ = ["POLICY", "CollectConfig", "load_collect", "load_saved_collect"]
