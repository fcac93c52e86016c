"""Metrics on disk: one JSON line per round, and TensorBoard beside it if asked.

The file outlives the process: every line is on the disk before `log` returns, a torn last line is
dropped, and a run that resumes from a checkpoint rewinds the file to it, so each round is there
once.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dyna.files import DamagedFileError, replacing
from dyna.types import Metrics

FILE_NAME = "metrics.jsonl"

NAMESPACES = (
    *("real", "imagined", "model", "policy", "eval", "experience"),
    *("rehearsal", "alarm", "drift", "ledger", "engine", "time"),
)
"""The first word of every metric's name."""
_NAME = re.compile(rf"({'|'.join(NAMESPACES)})/[^\s/]+(/[^\s/]+)*")
_log = logging.getLogger(__name__)


class Tracker:
    """Appends to `<folder>/metrics.jsonl`.

    Example: `log(3, {"real/turns": 9})` writes `{"round": 3, "metrics": {"real/turns": 9.0}}`.
    """

    def __init__(self, folder: str | Path, *, tensorboard: bool = False) -> None:
        self._path = Path(folder) / FILE_NAME
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = _whole_lines(self._path)
        self._rewrite(lines)
        self._last_round = int(lines[-1]["round"]) if lines else None
        self._writer = _summary_writer(self._path.parent / "tensorboard") if tensorboard else None

    def log(self, round: int, metrics: Mapping[str, float]) -> None:
        """Append one line; numbers that are not finite become null.

        Raises `ValueError` for a name outside the namespaces or a round logged before, `TypeError`
        for a value that is no number.
        """
        if self._last_round is not None and round <= self._last_round:
            raise ValueError(
                f"round {round} comes after round {self._last_round} was logged; log rounds once "
                f"and in order, or call rewind({round - 1}) to resume there"
            )
        checked = {
            _checked_name(name): _checked(value, name=name) for name, value in metrics.items()
        }
        line = json.dumps({"round": round, "metrics": checked}, allow_nan=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._last_round = round
        if self._writer is not None:
            for name, value in checked.items():
                if value is not None:
                    self._writer.add_scalar(name, value, round)
            self._writer.flush()

    def rewind(self, round: int) -> None:
        """Drop the lines after `round`, the last one that the checkpoint to resume from holds."""
        lines = [line for line in _whole_lines(self._path) if line["round"] <= round]
        self._rewrite(lines)
        self._last_round = int(lines[-1]["round"]) if lines else None
        if self._writer is not None:
            self._writer.close()
            self._writer = _summary_writer(self._path.parent / "tensorboard", purge=round + 1)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _rewrite(self, lines: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        if not self._path.exists() or self._path.read_text(encoding="utf-8") != text:
            with replacing(self._path) as draft:
                draft.write_text(text, encoding="utf-8")


def read_metrics(folder: str | Path) -> list[tuple[int, Metrics]]:
    """The rounds of a run in order, each with its metrics; a value written as null is NaN.

    Raises `FileNotFoundError` if there are none and `ValueError` for a damaged line.
    """
    path = Path(folder) / FILE_NAME
    if not path.exists():
        raise FileNotFoundError(f"no metrics at {path}; is {folder} the folder of a run?")
    return [
        (
            int(line["round"]),
            {name: math.nan if v is None else float(v) for name, v in line["metrics"].items()},
        )
        for line in _whole_lines(path)
    ]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole, _, torn = text.rpartition("\n")
    if torn:
        _log.warning("%s ends in a line that was cut off; it is ignored", path)
    lines: list[dict[str, Any]] = []
    for number, line in enumerate(whole.split("\n") if whole else [], start=1):
        try:
            parsed = json.loads(line)
            lines.append({"round": int(parsed["round"]), "metrics": dict(parsed["metrics"])})
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedFileError(
                f"{path}, line {number} is no line of metrics ({error!r}); delete that line"
            ) from error
    return lines


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"metric name {name!r} is in no namespace; begin it with one of "
            + " ".join(f"{space}/" for space in NAMESPACES)
        )
    return name


def _checked(value: object, *, name: str) -> float | None:
    if not isinstance(value, int | float):
        raise TypeError(f"metric {name!r} is {value!r}; log plain numbers, such as float(x)")
    return float(value) if math.isfinite(value) else None


def _summary_writer(folder: Path, *, purge: int | None = None) -> Any:
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise ImportError(
            "tracking.tensorboard=true needs tensorboardX; install it with `pip install "
            "tensorboardX`, or turn the option off: metrics.jsonl holds the same numbers"
        ) from error
    return SummaryWriter(str(folder), purge_step=purge)
