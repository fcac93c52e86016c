"""Where collected data comes from: which world and versions made it, written into every file."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dyna.envs.catalog import find
from dyna.envs.extras import EXTRAS
from dyna.plugins import check_name
from dyna.siblings import DISTRIBUTION
from experiments.collecting.config import CollectConfig

_ROOT = Path(__file__).resolve().parents[2]


def provenance(config: CollectConfig) -> dict[str, Any]:
    """JSON values; the same for every part of a collection, but for what each adds of its own."""
    info = find(config.world.name)
    extra = EXTRAS[info.extra] if info is not None and info.extra else {}
    names = (DISTRIBUTION, "numpy", *extra)
    return {
        "world": config.world.name,
        "world_class": check_name("environments", config.world.name),
        "world_params": config.world.params,
        "seed": config.seed,
        "collection": config.name,
        "packages": {name: found for name in names if (found := _version(name))},
        "python": platform.python_version(),
        "git_commit": git_commit(),
    }


def git_commit() -> str:
    """Of the checkout that this code runs from; empty where it was installed from a package."""
    if not (_ROOT / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # provenance without git is still provenance
        return ""
    return done.stdout.strip()


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


__all__ = ["git_commit", "provenance"]
