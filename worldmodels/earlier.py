"""The world model of an earlier checkpoint in the place of the newest one's, on disk.

Weights, optimizer and what guards them come from then; what the gate holds out and all counts are
those of now. The version grows, for players tell models apart by it. Nothing is loaded.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from dyna.files import DamagedFileError, read_json, write_json

_COUNTS = "learner.json"
_GATE = "gate"
_TRAINER = Path("trainer") / "trainer.json"
_FROM = "rolled_back_to"


class EarlierModel:
    """The part of a checkpoint that `LLMWorldModelLearner` saves, made of two that it saved.

    `now` and `then` are folders of that part; `round` is that of `then`. Raises `DamagedFileError`
    where one of them is not of a language model that learns.
    """

    def __init__(self, *, now: Path, then: Path, round: int) -> None:
        for folder in (now, then):
            if not (folder / _COUNTS).is_file() or not (folder / _TRAINER).is_file():
                raise DamagedFileError(
                    f"{folder} holds no language model that the run trains; only such a world "
                    "model can be rolled back"
                )
        self._now, self._then, self._round = now, then, round

    @property
    def version(self) -> int:
        """Of the model once it is live again."""
        return version_of(self._now) + 1

    def save(self, folder: str) -> None:
        path = Path(folder)
        shutil.copytree(self._then, path, dirs_exist_ok=True)
        shutil.rmtree(path / _GATE, ignore_errors=True)
        shutil.copytree(self._now / _GATE, path / _GATE)
        _change(path / _TRAINER, _read(path / _TRAINER), version=self.version)
        counts = _read(self._now / _COUNTS)
        _change(path / _COUNTS, counts, version=self.version, **{_FROM: self._round})


def version_of(folder: Path) -> int:
    """The version of the model in a folder that a learner saved."""
    return int(_read(folder / _COUNTS)["version"])


def rolled_back_to(folder: Path) -> int | None:
    """The round whose model was put into this folder, if one was."""
    found = _read(folder / _COUNTS).get(_FROM)
    return None if found is None else int(found)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DamagedFileError(
            f"{path} does not exist; the world model of this run is none that can be rolled back"
        )
    return read_json(path)


def _change(path: Path, state: dict[str, Any], **values: Any) -> None:
    write_json(path, value={**state, **values})


__all__ = ["EarlierModel", "rolled_back_to", "version_of"]
