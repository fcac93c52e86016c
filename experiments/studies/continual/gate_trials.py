"""Trials of the promotion gate: planted bad updates must be refused, good ones go live.

    python -m experiments.studies.continual.gate_trials  # writes docs/results/continual_gate.json

The settings are in `gate.yaml`, the definition of what is planted too. Every candidate is trained
by the learner of a run. What the configured gate says decides; what every other test and burden
would have said of the same scores is written down beside it. Run again it goes on where it was.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dyna.config import GateBurden, GateConfig, GateTest, RunConfig
from dyna.configuring import load
from dyna.envs.household import HouseholdWorld
from dyna.evaluation.fidelity import TurnScore, exact_match_by
from dyna.evaluation.intervals import wilson
from dyna.files import read_json, write_json
from dyna.replay import ReservoirBuffer
from dyna.seeding import derive_seed, generator
from dyna.types import Trajectory
from experiments.build import build_renderer, build_trainers
from experiments.studies.continual.fresh_episodes import play
from experiments.usage import UsageError, find_config
from worldmodels.candidates import Gate
from worldmodels.gate import GateVerdict
from worldmodels.learner import LLMWorldModelLearner
from worldmodels.scoring import score_turns

GOOD, NOISE, WRONG_WORLD = "good", "label_noise", "wrong_world"
KINDS = (GOOD, NOISE, WRONG_WORLD)
RESULT = Path("docs/results/continual_gate.json")
Row = dict[str, Any]
Measure = Callable[[], dict[str, float]]

_LATE = "Nothing happens."
"""What a world that is one turn late has to say at first."""


class AskedGate(Gate):
    """A gate that also says what every test and burden would have said of the scores it saw."""

    def __init__(self, config: GateConfig, *, seed: int, measure: Measure) -> None:
        super().__init__(config, seed=seed)
        self.verdicts: dict[str, bool] = {}
        self.said = GateVerdict()
        self.em: dict[str, float] = {}
        """Of the candidate, in houses that nobody has met."""
        self._measure = measure

    def judge(
        self,
        old: Sequence[TurnScore],
        *,
        new: Sequence[TurnScore],
        questions: Sequence[Trajectory],
        update: int,
    ) -> GateVerdict:
        self.em = self._measure()
        own = self._config
        for test, burden in product(GateTest, GateBurden):
            self._config = replace(own, test=test, burden=burden)
            said = super().judge(old, new=new, questions=questions, update=update)
            self.verdicts[f"{test.value}/{burden.value}"] = said.accepted
        self._config = own
        without = [[replace(score, loss=None) for score in scores] for scores in (old, new)]
        said = super().judge(without[0], new=without[1], questions=questions, update=update)
        self.verdicts["blind to the loss"] = said.accepted
        self.said = super().judge(old, new=new, questions=questions, update=update)
        return self.said


class Trial:
    """One seed: a live model that has learned every family, and what it may learn next."""

    def __init__(self, study: Mapping[str, Any], *, seed: int, folder: Path) -> None:
        self._study, self._seed, self._folder = study, seed, folder
        self._config: RunConfig = load(find_config(study["config"]), overrides=study["settings"])
        self._replay = ReservoirBuffer(max_transitions=10**6, max_bytes=2**28, seed=seed)
        names: list[str] = study["families"]
        self._test = [t for name in names for t in self._play(name, "test")]
        learner, measure = self._learner()
        for name in names:
            shown = self._play(name, "episodes")
            for trajectory in shown:
                self._replay.add(trajectory)
            learner.begin_experience(name)
            learner.update(shown, self._replay)
        self._em = measure()
        learner.save(str(folder / "live"))
        self._replay.save(str(folder / "replay"))

    def row(self, kind: str) -> Row:
        """What the gate says of one candidate, from the live model and the buffer as they were."""
        learner, _ = self._learner()
        learner.load(str(self._folder / "live"))
        self._replay.load(str(self._folder / "replay"))
        began = time.monotonic()
        metrics = learner.update(self._fresh(kind), self._replay)
        gate = learner.gate
        assert isinstance(gate, AskedGate)
        return {
            "seed": self._seed,
            "kind": kind,
            "accepted": metrics["model/gate_accepted"] == 1.0,
            "em_before": self._em,
            "em_after": gate.em,
            "experiences": gate.said.to_json()["experiences"],
            "verdicts": gate.verdicts,
            "seconds": round(time.monotonic() - began, 2),
        }

    def _learner(self) -> tuple[LLMWorldModelLearner, Measure]:
        """A learner that begins with the model of the config, and its score in unmet houses."""
        config = self._config
        trainer = build_trainers(config)["world_model"]
        renderer = build_renderer(config, "world_model")

        def measure() -> dict[str, float]:
            hidden = config.world_model.use_hidden_state
            scores = score_turns(trainer.model, renderer, self._test, use_hidden_state=hidden)
            family = {t.id: t.task.family for t in self._test}
            found = exact_match_by(scores, key=lambda score: family[score.trajectory_id])
            return {name: round(value, 4) for name, value in found.items()}

        settings = config.world_model_learner
        learner = LLMWorldModelLearner(trainer, renderer, settings, seed=self._seed)
        learner.gate = AskedGate(settings.gate, seed=self._seed, measure=measure)
        return learner, measure

    def _fresh(self, kind: str) -> list[Trajectory]:
        fresh = self._play(self._study["families"][-1], "fresh_episodes")
        if kind == NOISE:
            return noisy(fresh, share=self._study["noise"], seed=self._seed)
        return late(fresh) if kind == WRONG_WORLD else fresh

    def _play(self, family: str, part: str) -> list[Trajectory]:
        """Episodes of one family; those of the parts never share a house."""
        study = self._study
        first = 0 if part != "fresh_episodes" else int(study["episodes"])
        return play(
            HouseholdWorld(families=[family], **study["world"]),
            name=f"{family}/{part}",
            num=study["test_episodes"] if part == "test" else study[part],
            offset=self._seed * int(study["houses_per_seed"]) + first,
            split="valid_unseen" if part == "test" else "train",
            seed=self._seed,
        )


def noisy(trajectories: Sequence[Trajectory], *, share: float, seed: int) -> list[Trajectory]:
    """About `share` of the answers is that of another turn, drawn from all of them."""
    rng = generator(derive_seed(seed, "noise"), "noise")
    said = [turn.outcome.observation for t in trajectories for turn in t.turns]
    return [
        _answered(
            t,
            answers=[
                said[rng.integers(len(said))] if rng.random() < share else turn.outcome.observation
                for turn in t.turns
            ],
        )
        for t in trajectories
    ]


def late(trajectories: Sequence[Trajectory]) -> list[Trajectory]:
    """The world answers each command with what the one before it brought about."""
    return [
        _answered(t, answers=[_LATE, *(turn.outcome.observation for turn in t.turns[:-1])])
        for t in trajectories
    ]


def _answered(trajectory: Trajectory, *, answers: Sequence[str]) -> Trajectory:
    turns = tuple(
        replace(turn, outcome=replace(turn.outcome, observation=answer))
        for turn, answer in zip(trajectory.turns, answers, strict=True)
    )
    return replace(trajectory, turns=turns)


def rows_of(study: Mapping[str, Any], seed: int) -> list[Row]:
    """One row for each kind of candidate, all from the same live model."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        trial = Trial(study, seed=seed, folder=Path(place))
        return [trial.row(kind) for kind in KINDS]


def kept(result: Path, *, study: Mapping[str, Any]) -> tuple[list[Row], int]:
    """What was measured before, of any of the seeds, and the seconds that it took.

    Raises `UsageError` where that was another study.
    """
    if not result.is_file():
        return [], 0
    found = read_json(result)
    then = found["study"]
    changed = [key for key in study if key != "seeds" and then.get(key) != study[key]]
    if changed:
        told = "; ".join(f"{key} was {then.get(key)}, is {study[key]}" for key in changed)
        raise UsageError(f"{result} is of another study ({told}); name another --result")
    return [row for row in found["trials"] if row["seed"] in study["seeds"]], found["seconds"]


def summary(rows: Sequence[Row], *, goal: Mapping[str, int]) -> dict[str, Any]:
    """How many of each kind went live, by the configured gate and by every other."""
    counted: dict[str, Any] = {}
    for kind in KINDS:
        own = [row for row in rows if row["kind"] == kind]
        accepted = sum(row["accepted"] for row in own)
        ci = wilson(accepted, num=len(own))
        counted[kind] = {
            "num": len(own),
            "accepted": accepted,
            "refused": len(own) - accepted,
            "accepted_rate_95": [round(ci.low, 3), round(ci.high, 3)],
            "accepted_by": {
                name: sum(row["verdicts"][name] for row in own) for name in own[0]["verdicts"]
            },
        }
    bad = [counted[kind]["refused"] for kind in (NOISE, WRONG_WORLD)]
    reached = counted[GOOD]["accepted"] >= goal["accepted"] and min(bad) >= goal["refused"]
    return {"kinds": counted, "goal": dict(goal), "reached": reached}


def table(found: Mapping[str, Any]) -> Table:
    """How many went live, by each gate."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    shown.add_column("gate")
    for kind, counts in found["kinds"].items():
        shown.add_column(f"{kind} of {counts['num']}", justify="right")
    rows = {"as configured": [counts["accepted"] for counts in found["kinds"].values()]}
    for name in found["kinds"][GOOD]["accepted_by"]:
        rows[name] = [counts["accepted_by"][name] for counts in found["kinds"].values()]
    for name, counts in rows.items():
        shown.add_row(name, *map(str, counts))
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--result", type=Path, default=RESULT, help="the JSON to write")
    parser.add_argument("--seeds", type=int, help="only the first so many of the study's")
    parser.add_argument("--workers", type=int, default=1, help="seeds at a time, a core each")
    arguments = parser.parse_args()
    study = read_study()
    study["seeds"] = study["seeds"][: arguments.seeds]
    console = Console()
    began = time.monotonic()
    rows, spent = kept(arguments.result, study=study)
    missing = [seed for seed in study["seeds"] if seed not in {row["seed"] for row in rows}]
    arguments.result.parent.mkdir(parents=True, exist_ok=True)
    machine = f"{arguments.workers} of {os.cpu_count()} CPU cores, one thread each"
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, mp_context=spawn) as pool:
        waiting = [pool.submit(rows_of, study, seed) for seed in missing]
        for done in track(as_completed(waiting), total=len(waiting), console=console):
            rows = sorted([*rows, *done.result()], key=lambda row: row["seed"])
            found = summary(rows, goal=study["goal"])
            seconds = spent + round(time.monotonic() - began)
            head = {"study": study, "machine": machine, "seconds": seconds}
            write_json(arguments.result, value={**head, **found, "trials": rows})
    console.print(table(summary(rows, goal=study["goal"])))


def read_study() -> dict[str, Any]:
    place = files("experiments.studies.continual").joinpath("gate.yaml")
    return yaml.safe_load(place.read_text("utf-8"))


if __name__ == "__main__":
    main()
