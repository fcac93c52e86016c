"""Is a change of the world noticed from the model's loss, how soon, and how often for nothing?

    python -m experiments.studies.continual.drift_trials  # minutes; called again, seconds

One world model learns one household round by round. At every stage it is scored on fresh episodes
that it has not trained on, of its own household and of others; after each switch it goes on to
learn, and is scored again. The trials then read these losses in many orders through the detectors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from dyna import configuring
from dyna.config import DriftConfig, DriftTest, GateConfig, OptimizerConfig, WorldModelLearnerConfig
from dyna.drift import DriftDetector
from dyna.envs.household import HouseholdWorld
from dyna.files import read_json, write_json
from dyna.replay import ReservoirBuffer
from dyna.types import Trajectory
from experiments.studies.continual.fresh_episodes import fresh_trainer, make_model, play
from experiments.studies.continual.tables import markdown
from experiments.studies.jobs import machine
from worldmodels.learner import LLMWorldModelLearner
from worldmodels.surprise import surprise

_WORDS = 40
"""Episodes of each world from which the model's words are learned; of houses of their own."""
_FIRST_OF_WORDS, _FIRST_OF_POOL, _FIRST_AFTER = 5000, 6000, 7000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """As `drift.yaml` explains them."""

    name: str
    seed: int = 0
    pool: int
    tuning: int = 0
    opening: int
    episodes_per_round: int
    rounds: int
    rounds_after: int
    trials: int
    steady: int
    before: dict[str, Any]
    after: dict[str, Any]
    tests: dict[str, Any]
    learner: dict[str, Any] = field(default_factory=dict[str, Any])
    learning_rate: float = 5e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """Nats per token of fresh episodes, each list before the model trains on that round's."""

    before: list[list[float]]  # [opening, rounds, and the model at the end][pool]
    after: dict[str, list[list[float]]]  # switch -> [rounds after][pool]


def read_settings(path: Path | None = None) -> Settings:
    place = files("experiments.studies.continual").joinpath("drift.yaml")
    return configuring.load_tree(Settings, path=path or Path(str(place)))


def record(settings: Settings, *, folder: Path, console: Console) -> Losses:
    """Train the model and score it at every stage; what is in `folder` is read."""
    path = folder / "losses.json"
    if path.exists():
        kept = read_json(path)
        if kept["settings"] == _learned(settings):
            return Losses(before=kept["before"], after=kept["after"])
    old = HouseholdWorld(**settings.before)
    new = {name: HouseholdWorld(**params) for name, params in settings.after.items()}
    worlds = {"before": old, **new}
    words = [
        episode
        for name, world in worlds.items()
        for episode in play(world, name=name, num=_WORDS, offset=_FIRST_OF_WORDS)
    ]
    pools = {
        name: play(world, name=f"pool {name}", num=settings.pool, offset=_FIRST_OF_POOL)
        for name, world in worlds.items()
    }
    live = _Live(settings, words=words, folder=folder)
    before: list[list[float]] = []
    done = 0
    for round in range(settings.rounds + 1):
        console.print(f"round {round} of {settings.rounds}")
        before.append(live.losses(pools["before"]))
        num = settings.episodes_per_round if round else settings.opening
        live.learn(play(old, name="train", num=num, offset=done))
        done += num
    before.append(live.losses(pools["before"]))
    live.save(folder / "live")
    after: dict[str, list[list[float]]] = {}
    for name, world in new.items():
        console.print(f"switch to {name}")
        live.load(folder / "live")
        after[name] = []
        for round in range(settings.rounds_after):
            after[name].append(live.losses(pools[name]))
            if round + 1 < settings.rounds_after:
                num = settings.episodes_per_round
                live.learn(play(world, name=name, num=num, offset=_FIRST_AFTER + num * round))
    write_json(path, value={"settings": _learned(settings), "before": before, "after": after})
    return Losses(before=before, after=after)


def _learned(settings: Settings) -> dict[str, Any]:
    """What the losses depend on."""
    kept = asdict(settings)
    return {k: v for k, v in kept.items() if k not in ("trials", "steady", "tests", "tuning")}


class _Live:
    """The world model that learns."""

    def __init__(self, settings: Settings, *, words: Sequence[Trajectory], folder: Path) -> None:
        config = make_model(words, folder=folder / "model", seed=settings.seed)
        optimizer = OptimizerConfig(learning_rate=settings.learning_rate, tokens_per_batch=1024)
        self._trainer, self._renderer = fresh_trainer(config, optimizer=optimizer)
        learner = WorldModelLearnerConfig(
            optimizer=optimizer, gate=GateConfig(enabled=False), **settings.learner
        )
        self._learner = LLMWorldModelLearner(
            self._trainer, self._renderer, learner, seed=settings.seed
        )
        self._buffer = ReservoirBuffer(max_transitions=100_000, seed=settings.seed)

    def losses(self, episodes: Sequence[Trajectory]) -> list[float]:
        found = surprise(self._trainer.model, self._renderer, episodes, use_hidden_state=True)
        return list(found.values())

    def learn(self, episodes: Sequence[Trajectory]) -> None:
        for episode in episodes:
            self._buffer.add(episode)
        self._learner.update(episodes, self._buffer)

    def save(self, folder: Path) -> None:
        self._learner.save(str(folder / "learner"))
        self._buffer.save(str(folder / "buffer"))

    def load(self, folder: Path) -> None:
        self._learner.load(str(folder / "learner"))
        self._buffer.load(str(folder / "buffer"))


def trial(
    losses: Losses, *, switch: str, settings: Settings, drift: DriftConfig, seed: int
) -> dict[str, Any]:
    """One order of the episodes; `delay` is None where the switch was not noticed in time."""
    rng = np.random.default_rng(seed)
    detector = DriftDetector(drift)
    for round, pool in enumerate(losses.before[:-1]):
        num = settings.episodes_per_round if round else settings.opening
        detector.update(_draw(pool, num=num, rng=rng))
    num_before, alarms = detector.num_seen, len(detector.found)
    for pool in losses.after[switch]:
        if detector.update(_draw(pool, num=settings.episodes_per_round, rng=rng)):
            break
    noticed = detector.found[alarms:]
    delay = noticed[0] - num_before if noticed else None
    return {"seed": seed, "delay": delay, "false_alarms": alarms, "episodes_before": num_before}


def steady_trial(
    losses: Losses, *, settings: Settings, drift: DriftConfig, seed: int
) -> dict[str, Any]:
    """A world that stays as it is, under a model that has learned it."""
    rng = np.random.default_rng(seed)
    detector = DriftDetector(drift)
    detector.update(_draw(losses.before[-1], num=settings.steady, rng=rng))
    return {"seed": seed, "false_alarms": len(detector.found), "episodes": settings.steady}


def _draw(pool: Sequence[float], *, num: int, rng: np.random.Generator) -> list[float]:
    """Each episode once, as far as they go."""
    rounds = -(-num // len(pool))
    order = np.concatenate([rng.permutation(len(pool)) for _ in range(rounds)])[:num]
    return [pool[i] for i in order]


def run_trials(losses: Losses, *, settings: Settings) -> dict[str, Any]:
    """By test: its settings, the trials of every switch, and those without one."""
    found: dict[str, Any] = {}
    seeds = range(settings.trials)
    losses = Losses(
        before=[pool[settings.tuning :] for pool in losses.before],
        after={k: [pool[settings.tuning :] for pool in v] for k, v in losses.after.items()},
    )
    for name, changes in settings.tests.items():
        drift = replace(DriftConfig(), **{**changes, "test": DriftTest(changes.get("test", name))})
        found[name] = {
            "settings": asdict(drift),
            "switches": {
                switch: [
                    trial(losses, switch=switch, settings=settings, drift=drift, seed=seed)
                    for seed in seeds
                ]
                for switch in losses.after
            },
            "steady": [
                steady_trial(losses, settings=settings, drift=drift, seed=seed) for seed in seeds
            ],
        }
    return found


def section(result: Path) -> str:
    """What the page says of the trials, from their JSON."""
    found = read_json(result)
    settings, tests = found["settings"], found["tests"]
    rows = [
        [
            f"`{_said(params)}`",
            f"{np.median(found['losses']['after'][switch][0]):.2f}",
            *(_delays(test["switches"][switch]) for test in tests.values()),
        ]
        for switch, params in settings["after"].items()
    ]
    old = np.median(found["losses"]["before"][-1])
    rows.append(["none: false alarms", f"{old:.2f}", *(_false_alarms(t) for t in tests.values())])
    intro = (
        f"A world model learns `{_said(settings['before'])}` in an opening of "
        f"{settings['opening']} episodes and {settings['rounds']} rounds of "
        f"{settings['episodes_per_round']}; then the world is another. Delay: real episodes from "
        f"the change until it is found, median and 90th percentile of {settings['trials']} "
        f"orders of the episodes; it goes on to learn after each round of "
        f"{settings['episodes_per_round']}, and is watched for {settings['rounds_after']} rounds. "
        "Loss: nats per token of the new world, median over episodes, before the model meets it. "
        "The settings were chosen on other episodes under the same model."
    )
    return "\n\n".join([intro, markdown(["The world becomes", "loss", *tests], rows)])


def _said(params: Mapping[str, Any]) -> str:
    """Example: `rooms: kitchen, families: heat`."""
    return ", ".join(
        f"{key}: {value if isinstance(value, str) else ' and '.join(value)}"
        for key, value in params.items()
    )


def _delays(trials: Sequence[Mapping[str, Any]]) -> str:
    delays = sorted(t["delay"] for t in trials if t["delay"] is not None)
    share = f"{len(delays)} of {len(trials)} found"
    if not delays:
        return share
    late = delays[min(len(delays) - 1, int(0.9 * len(delays)))]
    return f"{delays[len(delays) // 2]} (90%: {late}), {share}"


def _false_alarms(test: Mapping[str, Any]) -> str:
    alarms = sum(t["false_alarms"] for t in test["steady"])
    episodes = sum(t["episodes"] for t in test["steady"])
    early = sum(t["false_alarms"] for trials in test["switches"].values() for t in trials)
    num = sum(len(trials) for trials in test["switches"].values())
    return f"{alarms} in {episodes:,} episodes; while learning, {early} in {num} runs"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, help="a YAML file like drift.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/continual_drift"))
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    options = parser.parse_args(arguments)
    settings, console = read_settings(options.settings), Console()
    began = time.monotonic()
    options.runs.mkdir(parents=True, exist_ok=True)
    losses = record(settings, folder=options.runs, console=console)
    value = {
        "settings": asdict(settings),
        "machine": machine(),
        "seconds": round(time.monotonic() - began, 1),
        "tests": run_trials(losses, settings=settings),
        "losses": asdict(losses),
    }
    result = options.output / f"{settings.name}.json"
    write_json(result, value=value)
    console.print(section(result))


if __name__ == "__main__":
    main()
