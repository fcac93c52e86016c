"""The main job on each world: what a run of the Dyna loop reaches there with a tiny model.

    python -m experiments.studies.worlds                          # every world, one after the other
    python -m experiments.studies.worlds textworld seed=1         # one, with changes to its config
    python -m experiments.studies.worlds alfworld world.params.data=FOLDER

Every world has its shipped config. A run ends after its rounds or its minutes, whichever comes
first; they are minutes of one processor core, so that what else the machine does changes nothing.
What was learned from imitation alone stands beside what the loop made of it; the world
model is asked for every turn of held-out real episodes. Stopped, the study goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from dyna import configuring
from dyna.envs.catalog import find
from dyna.envs.extras import missing
from dyna.evaluation.fidelity import TurnScore, exact_match, rate
from dyna.evaluation.policies import scored
from dyna.evaluation.predictions import predict_turns
from dyna.files import read_json, write_json
from dyna.tracking import read_metrics
from dyna.types import Metrics
from experiments.cli import CONFIG_FILE, find_config
from experiments.run import opened, restore
from experiments.studies.worlds_page import write_page
from experiments.tiny.making import FOLDER, RECORD, with_tiny_model

WORLDS = ("alfworld", "scienceworld", "textworld", "webshop", "toolbench")
MINUTES = 20.0
_GRACE_S = 300.0
"""How long a run that is told to stop may take for the step that it is in."""
_INTERVAL_S = 1.0
_SMOKE = (
    "rounds=1",
    "real.demonstrations=6",
    "real.explorations=6",
    "real.episodes_per_round=4",
    "real.group_size=1",
    "policy_learner.imitation_epochs=2",
    "policy_learner.epochs=1",
    "world_model_learner.first_epochs=2",
    "world_model_learner.epochs=1",
    "imagination.episodes_per_round=8",
    "imagination.batches_per_round=1",
    "evaluation.num_tasks=4",
    "evaluation.fidelity_episodes=4",
)
"""A run that shows only that everything works; its figures mean nothing."""


def study(world: str, *, changes: Sequence[str], folder: Path, minutes: float) -> dict[str, Any]:
    """Train in `folder`, or go on there, and measure; returns the content of the result file."""
    spent = _train([world, *changes], folder=folder, seconds=60 * minutes)
    rounds = [
        (number, metrics)
        for number, metrics in read_metrics(folder)
        if "eval/real_success" in metrics
    ]
    if not rounds:
        raise RuntimeError(f"{folder} has no evaluated round; see {folder / 'log.txt'}")
    config = configuring.load_saved(folder / CONFIG_FILE)
    record = folder / FOLDER / RECORD
    return {
        "world": world,
        "settings": [_without_folders(change) for change in changes],
        "params": {k: _file_name(v) for k, v in config.world.params.items()},
        "seed": config.seed,
        "machine": _machine(),
        "cpu_minutes": spent["cpu_s"] / 60,
        "wall_minutes": spent["wall_s"] / 60,
        "limit_minutes": minutes,
        "rounds_planned": config.rounds,
        "rounds_played": rounds[-1][0],
        "tiny_model": read_json(record) if record.exists() else None,
        "before": _reached(rounds[0][1]),
        "after": _reached(rounds[-1][1]),
        "curve": [{"round": number, **_reached(metrics)} for number, metrics in rounds],
        "ledger": {k: v for k, v in rounds[-1][1].items() if k.startswith(("ledger/", "time/"))},
        "fidelity": measure_fidelity(folder),
    }


def _train(settings: Sequence[str], *, folder: Path, seconds: float) -> dict[str, float]:
    """Run `dyna train`, or `dyna resume`, for what is left of `seconds` of the processor; returns
    what was spent, by the run and all its processes: `cpu_s`, and `wall_s` beside it."""
    clock, done = folder / "spent.json", folder / "done.json"
    spent: dict[str, float] = {"cpu_s": 0.0, "wall_s": 0.0}
    if clock.exists():
        spent = read_json(clock)
    if done.exists() or spent["cpu_s"] >= seconds:
        return spent
    is_old = (folder / CONFIG_FILE).exists()
    command = [sys.executable, "-m", "experiments.cli"]
    command += ["resume", str(folder)] if is_old else ["train", *settings, "--run", str(folder)]
    folder.mkdir(parents=True, exist_ok=True)
    before, began = dict(spent), time.monotonic()
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            while process.poll() is None:
                spent["cpu_s"] = max(spent["cpu_s"], before["cpu_s"] + _cpu_seconds(process.pid))
                spent["wall_s"] = before["wall_s"] + time.monotonic() - began
                if spent["cpu_s"] >= seconds:
                    process.terminate()
                    process.wait(timeout=_GRACE_S)
                time.sleep(_INTERVAL_S)
        finally:
            if process.poll() is None:
                process.kill()
            write_json(clock, value=spent)
    if process.returncode == 0:
        write_json(done, value=spent)
    elif spent["cpu_s"] < seconds:
        raise RuntimeError(f"{' '.join(settings)} ended with {process.returncode}; see {log.name}")
    return spent


def _cpu_seconds(pid: int) -> float:
    """Of a process, its children that live, and those that have ended and were waited for."""
    total = 0.0
    try:
        root = psutil.Process(pid)
        for member in (root, *root.children(recursive=True)):
            times = member.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    except psutil.NoSuchProcess:
        return total
    return total


def measure_fidelity(folder: Path) -> dict[str, Any]:
    """The world model of the newest checkpoint, asked for every turn of the held-out episodes."""
    config = configuring.load_saved(folder / CONFIG_FILE)
    config = with_tiny_model(config, folder=folder)
    with opened(config, folder=folder) as (made, evaluator):
        restore(made, folder=folder)
        probes = scored(evaluator.probes())
        # The driver's own player has the weights, wherever the run was played.
        scores = predict_turns(evaluator.crew.model, probes)  # type: ignore[attr-defined]
    kinds = {score.kind for score in scores}
    return {
        "episodes": len(probes),
        "behavior": config.real.exploration.name,
        "split": config.evaluation.split,
        "all": _parts(scores),
        "valid": _parts([s for s in scores if s.valid is not False]),
        "invalid": _parts([s for s in scores if s.valid is False]),
        "winning": _parts([s for s in scores if s.success]),
        "win_precision": _number([s.success for s in scores if s.predicted_success]),
        "kinds": {kind: _parts([s for s in scores if s.kind == kind]) for kind in sorted(kinds)},
    }


def _parts(scores: Sequence[TurnScore]) -> dict[str, Any]:
    if not scores:
        return {"turns": 0}
    return {
        "turns": len(scores),
        "exact": exact_match(scores),
        "observation": rate(score.observation_exact for score in scores),
        "word_f1": sum(score.f1 or 0.0 for score in scores) / len(scores),
        "reward": rate(score.reward_exact for score in scores),
        "done": rate(score.termination_exact for score in scores),
    }


def _number(flags: Sequence[bool]) -> dict[str, Any]:
    return {"turns": len(flags), "rate": rate(flags) if flags else None}


def _reached(metrics: Metrics) -> dict[str, Any]:
    """What an evaluation says, and what had been spent by then."""
    names = {
        "real_success": "eval/real_success",
        "low": "eval/real_success_low",
        "high": "eval/real_success_high",
        "tasks": "eval/real_episodes",
        "imagined_success": "eval/imagined_success",
        "model_em": "model/em",
        "real_steps": "ledger/real_steps",
        "real_episodes": "ledger/real_episodes",
        "imagined_steps": "ledger/imagined_steps",
    }
    return {key: metrics.get(name) for key, name in names.items()}


def _without_folders(change: str) -> str:
    key, _, value = change.partition("=")
    return f"{key}={_file_name(value)}"


def _file_name(value: Any) -> Any:
    """A path's last part: where the files lie on this machine is nobody's concern."""
    return Path(value).name if isinstance(value, str) and "/" in value else value


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "processor": platform.machine(), "threads": 1, "gpu": False}


def why_not(world: str) -> str:
    """What keeps a world from being studied here; empty if nothing does."""
    info = find(world)
    problems = missing(info.extra) if info and info.extra else []
    return ", ".join(problems)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="WORLD | key=value")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help="of a core, at most, for each run"
    )
    parser.add_argument("--smoke", action="store_true", help="tiny runs, into runs/ alone")
    parser.add_argument("--runs", type=Path, default=Path("runs") / "worlds")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_intermixed_args()
    changes = [word for word in arguments.words if "=" in word]
    worlds = [word for word in arguments.words if "=" not in word] or list(WORLDS)
    for world in worlds:
        find_config(world)
    console = Console(soft_wrap=True)
    for world in worlds:
        if problem := why_not(world):
            console.print(f"{world}: skipped, {problem}")
            continue
        smoke: Mapping[bool, tuple[str, ...]] = {True: _SMOKE, False: ()}
        folder = arguments.runs / (f"{world}-smoke" if arguments.smoke else world)
        found = study(
            world,
            changes=[*smoke[arguments.smoke], *changes],
            folder=folder,
            minutes=arguments.minutes,
        )
        results = folder if arguments.smoke else arguments.docs / "results"
        results.mkdir(parents=True, exist_ok=True)
        path = results / f"worlds_{world}.json"
        write_json(path, value=found)
        before, after = found["before"]["real_success"], found["after"]["real_success"]
        console.print(f"{world}: real success {before:.2f}, then {after:.2f}; {path}")
        if not arguments.smoke:
            write_page(arguments.docs)


if __name__ == "__main__":
    main()
