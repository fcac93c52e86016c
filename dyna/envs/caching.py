"""Where worlds keep what is slow to make: games, gold paths, indexes. Safe to delete."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "DYNA_CACHE"


def cache_folder(world: str) -> Path:
    """The folder of one world under `$DYNA_CACHE`, or `$XDG_CACHE_HOME/dyna-agents`, or
    `~/.cache/dyna-agents`; made if need be. Raises `OSError` if it cannot be made."""
    home = os.environ.get(VARIABLE)
    if home:
        root = Path(home)
    else:
        caches = os.environ.get("XDG_CACHE_HOME")
        root = (Path(caches) if caches else Path.home() / ".cache") / "dyna-agents"
    folder = root / world
    folder.mkdir(parents=True, exist_ok=True)
    return folder


__all__ = ["VARIABLE", "cache_folder"]
