"""What was found for a task, on disk: the first process to write it decides for all others."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from threading import get_ident

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundGame:
    """Example: `FoundGame(seed=7, key="9f..", gold=("look around", "take coin"))`."""

    seed: int
    """The generator's."""
    key: str
    """See `Inspection.key`."""
    gold: tuple[str, ...]
    """Commands that win it."""


def read_found(path: Path) -> FoundGame | None:
    """None for a file that is not there; one that is damaged is removed."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return FoundGame(
            seed=int(value["seed"]), key=str(value["key"]), gold=tuple(map(str, value["gold"]))
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        _log.warning("%s is damaged (%s); the game is looked for again", path, error)
        path.unlink(missing_ok=True)
        return None


def keep_first(path: Path, *, found: FoundGame) -> FoundGame:
    """Write `found`, unless another process did so first; what is there in the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}.draft")
    value = {"seed": found.seed, "key": found.key, "gold": list(found.gold)}
    try:
        draft.write_text(json.dumps(value) + "\n", encoding="utf-8")
        os.link(draft, path)
    except FileExistsError:
        return read_found(path) or found
    finally:
        draft.unlink(missing_ok=True)
    return found


__all__ = ["FoundGame", "keep_first", "read_found"]
