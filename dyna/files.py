"""Files written whole or not at all, and JSON read with errors that say what to do.

A reader never sees half a file: the text goes to a sibling, reaches the disk, and then takes the
name in one step.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class DamagedFileError(ValueError):
    """A file or folder that is missing, half written, or of another kind than was asked for.

    The message names it and says what to do.
    """


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yield a sibling to write to; it takes the name `path` if, and only if, the block succeeds."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        yield draft
        sync(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync(path.parent)


def write_json(path: Path, *, value: Any) -> None:
    """Write `value` as JSON. Floats come back to the last bit; tuples come back as lists."""
    with replacing(path) as draft:
        draft.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Raises `FileNotFoundError` or `DamagedFileError`, each naming the file and the remedy."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist; it was never saved, or the folder is not the right one"
        ) from None
    try:
        return json.loads(text)
    except ValueError as error:
        raise DamagedFileError(
            f"{path} is not whole JSON ({error}); restore it from a copy or an older checkpoint"
        ) from error
