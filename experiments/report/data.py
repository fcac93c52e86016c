"""A run folder, read into one structure that the page, the figures and the final table share.

The rule that holds everywhere downstream is set here: an imagined success rate is handed out only
together with the real one of the same round (`Round.paired`), so no figure can show it alone.

What is read:

`metrics.jsonl`   required; one `{"round": int, "metrics": {name: number | null}}` per line. Lines
                  of the same round are merged; round 0 is the agent after cloning.
`config.yaml`     optional; shown as it is.
`episodes.json`   optional; `[{"task", "goal", "real": EPISODE, "imagined": EPISODE | null}]` with
                  EPISODE = `{"turns": [TURN], "success": bool, "stop": str}` and TURN =
                  `{"action", "observation", "reward", "terminated", "success"}`; imagined turns
                  also have `confidence`, `truth` (what the real world answers to the same actions,
                  null if unknown) and `wrong`.
`alarms.json`     optional; `[{"why": str}]`, a sentence for each time the alarm tripped; the page
                  begins with them.
`evaluation.json` optional, every key too; RATE = `{"rate", "low", "high", "num"}`, 95% interval,
                  or a bare number:

    {"one_step": {"em": RATE, "observation": RATE, "reward": RATE, "termination": RATE,
                  "valid": RATE, "invalid": RATE,              # EM on valid and invalid actions
                  "kinds": {kind: {"em", "observation", "reward", "termination": RATE}}},
     "success": {"real": RATE, "wm": RATE, "w2r": RATE},
     "consistency": {"cr": number | null, "num_tasks": int,
                     "agreement": RATE,                        # wm against w2r, task by task
                     "false_positives": RATE,                  # won in the model, lost in the world
                     "false_negatives": RATE,                  # lost in the model, won in the world
                     "first_divergence": {step: int}, "never_diverged": int},
     "selective": [{"coverage": number, "accuracy": number}],
     "calibration": {"ece": number, "bins": [{"confidence", "accuracy", "num"}]}}
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share in [0, 1] with its 95% interval, where one is known.

    Example: `Rate(rate=0.62, low=0.49, high=0.73, num=64)`
    """

    rate: float
    low: float | None = None
    high: float | None = None
    num: int | None = None
    """How many trials it is the share of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The metrics of one turn of the loop."""

    index: int
    metrics: Mapping[str, float]
    """Finite numbers only: what was null or not finite has no entry."""

    def get(self, name: str) -> float | None:
        return self.metrics.get(name)

    def rate(self, name: str) -> Rate | None:
        value = self.get(name)
        if value is None:
            return None
        return Rate(rate=value, low=self.get(f"{name}_low"), high=self.get(f"{name}_high"))

    def paired(self, real: str, imagined: str) -> tuple[Rate, Rate | None] | None:
        """A real rate and the imagined one beside it; nothing at all without the real one."""
        rate = self.rate(real)
        return None if rate is None else (rate, self.rate(imagined))

    def named(self, prefix: str) -> dict[str, float]:
        """Metrics below `prefix`, without it: `named("time/")` gives seconds by phase."""
        return {k.removeprefix(prefix): v for k, v in self.metrics.items() if k.startswith(prefix)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    name: str
    rounds: tuple[Round, ...]
    """In order; at least one."""
    config: str | None
    episodes: tuple[dict[str, Any], ...] | None
    """Normalized pairs for the viewer; None when the file is missing."""
    evaluation: dict[str, Any] | None
    notices: tuple[str, ...]
    """What a reader must know first: trips of the alarm, and files that are not whole."""

    @property
    def last(self) -> Round:
        return self.rounds[-1]

    def latest(self, name: str) -> float | None:
        """The newest value of a metric that not every round reports."""
        for entry in reversed(self.rounds):
            if (value := entry.get(name)) is not None:
                return value
        return None

    def latest_named(self, prefix: str) -> Round | None:
        """The newest round with any metric below `prefix`."""
        return next((r for r in reversed(self.rounds) if r.named(prefix)), None)

    def evaluated(self) -> list[Round]:
        """Rounds whose policy was played in the real world."""
        return [entry for entry in self.rounds if entry.get("eval/real_success") is not None]


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        FileNotFoundError: there is no such folder, or it has no `metrics.jsonl`.
        ValueError: a file in it does not hold what the module docstring says.
    """
    path = folder / "metrics.jsonl"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is no folder: name a run folder, as in `dyna report RUN`"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: a report needs the metrics of a run; is {folder} a run folder?"
        )
    rounds, notices = _read_metrics(path)
    config = folder / "config.yaml"
    episodes = _read_json(folder / "episodes.json")
    evaluation = _read_json(folder / "evaluation.json")
    if evaluation is not None and not isinstance(evaluation, dict):
        raise ValueError(f"{folder / 'evaluation.json'} must hold an object, got a list or a value")
    return Run(
        name=folder.resolve().name,
        rounds=rounds,
        config=config.read_text(encoding="utf-8") if config.is_file() else None,
        episodes=None if episodes is None else _pairs(episodes, path=folder / "episodes.json"),
        evaluation=evaluation,
        notices=notices + _trips(folder / "alarms.json"),
    )


def read_rate(value: Any) -> Rate | None:
    """A RATE of `evaluation.json`; None if it is missing or its rate is unknown."""
    if (bare := _number(value)) is not None:
        return Rate(rate=bare)
    if not isinstance(value, Mapping) or (rate := _number(value.get("rate"))) is None:
        return None
    num = _number(value.get("num"))
    return Rate(
        rate=rate,
        low=_number(value.get("low")),
        high=_number(value.get("high")),
        num=None if num is None else int(num),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _read_metrics(path: Path) -> tuple[tuple[Round, ...], tuple[str, ...]]:
    merged: dict[int, dict[str, float]] = {}
    notices: list[str] = []
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            index, metrics = int(entry["round"]), dict(entry["metrics"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines) and not text.endswith("\n"):
                # A run that was killed while it wrote: what it had committed is still worth a page.
                notices.append("The last line of metrics.jsonl is cut short and was left out.")
                continue
            raise ValueError(
                f'{path}:{number} must be {{"round": int, "metrics": {{...}}}}, got {line[:60]!r}'
            ) from error
        row = merged.setdefault(index, {})
        for name, value in metrics.items():
            if (finite := _number(value)) is not None:
                row[str(name)] = finite
    if not merged:
        raise ValueError(f"{path} holds no round yet: the run has not got past its first phase")
    return tuple(Round(index=i, metrics=merged[i]) for i in sorted(merged)), tuple(notices)


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): delete it, or write it again") from error


def _trips(path: Path) -> tuple[str, ...]:
    """Why imagination stopped, a sentence for each time."""
    entries = _read_json(path)
    if entries is None:
        return ()
    try:
        return tuple(f"The alarm tripped: {entry['why']}." for entry in entries)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must hold a list of objects with `why`, got {error!r}; delete it"
        ) from error


def _pairs(entries: Any, *, path: Path) -> tuple[dict[str, Any], ...]:
    if not isinstance(entries, list):
        raise ValueError(f"{path} must hold a list of pairs, got {type(entries).__name__}")
    pairs: list[dict[str, Any]] = []
    for number, entry in enumerate(entries):
        where = f"{path}[{number}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("real"), Mapping):
            raise ValueError(f'{where} must be an object with a "real" episode: imagined needs it')
        imagined = entry.get("imagined")
        pairs.append(
            {
                "task": str(entry.get("task", "")),
                "goal": str(entry.get("goal", "")),
                "real": _episode(entry["real"], where=f"{where}.real"),
                "imagined": None if imagined is None else _episode(imagined, where=where),
            }
        )
    return tuple(pairs)


def _episode(entry: Any, *, where: str) -> dict[str, Any]:
    turns = entry.get("turns") if isinstance(entry, Mapping) else None
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise ValueError(f'{where} must have "turns": a list of objects')
    return {
        "turns": [_turn(turn) for turn in turns],
        "success": bool(entry.get("success", False)),
        "stop": str(entry.get("stop", "")),
    }


def _turn(entry: Mapping[str, Any]) -> dict[str, Any]:
    truth = entry.get("truth")
    return {
        "action": str(entry.get("action", "")),
        "observation": str(entry.get("observation", "")),
        "reward": _number(entry.get("reward")) or 0.0,
        "terminated": bool(entry.get("terminated", False)),
        "success": bool(entry.get("success", False)),
        "confidence": _number(entry.get("confidence")),
        "truth": None if truth is None else str(truth),
        "wrong": bool(entry.get("wrong", False)),
    }
