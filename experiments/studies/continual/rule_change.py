"""The rules of the world change in mid-stream: how long is the model wrong, and about what?

    python -m experiments.studies.continual.rule_change  # minutes; seeds that are done are read

Some doors now lock: `open cabinet 1` fails until it is unlocked, and nothing tells beforehand. The
model must unlearn what is false now and keep what is still true. A buffer of old experience helps
with the one and hinders the other: it goes on to show doors that opened.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.resources import files
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from dyna import configuring
from dyna.config import GateConfig, OptimizerConfig, PluginConfig, WorldModelLearnerConfig
from dyna.envs.household import Expert, HouseholdWorld, SearchOrder
from dyna.envs.household.exploration import NearMiss, NoisyExpert
from dyna.evaluation.fidelity import TurnScore, exact_match
from dyna.evaluation.intervals import student_t
from dyna.files import read_json, write_json
from dyna.plugins import build
from dyna.protocols import HasExperiences, HasMemory, ReplayBuffer
from dyna.types import Context, Trajectory, Turn
from experiments.studies.continual.fresh_episodes import fresh_trainer, make_model, play
from experiments.studies.continual.tables import markdown
from experiments.studies.jobs import machine
from worldmodels.learner import LLMWorldModelLearner
from worldmodels.scoring import score_turns

CHANGED, DOORS, OTHER = "changed", "doors", "other"
"""Transitions by what the change did to them: another answer than before; doors that still open, of
other kinds or after they were unlocked; everything else."""
_FIRST_OF_WORDS, _FIRST_HELD_OUT, _FIRST_AFTER = 50_000, 60_000, 70_000
_WORDS = 60
"""Episodes of each world from which the model's words are learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """As `rule_change.yaml` explains them."""

    name: str
    seeds: list[int]
    world: dict[str, Any]
    locked: list[str]
    opening: int
    first_epochs: float
    rounds: int
    episodes_per_round: int
    epochs: float
    replay_ratio: float
    learning_rate: float
    held_out: int
    right_at: float
    houses_per_seed: int
    max_bytes: int
    strategies: dict[str, Any] = field(default_factory=dict[str, Any])


def read_settings(path: Path | None = None) -> Settings:
    place = files("experiments.studies.continual").joinpath("rule_change.yaml")
    return configuring.load_tree(Settings, path=path or Path(str(place)))


def kind_of_turn(turn: Turn) -> str:
    said, verb = turn.outcome.observation, turn.action.command.partition(" ")[0]
    if said.endswith(" is locked.") or said.startswith("You unlock the "):
        return CHANGED
    return DOORS if verb == "open" and turn.outcome.valid else OTHER


class Newcomer:
    """One who knows the old rules and reads what is said: tries the door, then unlocks it."""

    def __init__(self, habit: Callable[[Context], str]) -> None:
        self._habit = habit

    def __call__(self, context: Context) -> str:
        turns = context.turns[: context.length]
        said = turns[-1].outcome.observation if turns else ""
        if said.startswith("The ") and said.endswith(" is locked."):
            return f"unlock {said[4:-11]}"
        return self._habit(context)


class Worlds:
    """The household before the change and after it, and who plays there."""

    def __init__(self, settings: Settings) -> None:
        self.old = HouseholdWorld(**settings.world)
        self.new = HouseholdWorld(**settings.world, locked=settings.locked)
        words = self.new.vocabulary
        self._newcomer = Newcomer(Expert(words, order=SearchOrder.LISTED))
        near = NearMiss(self._newcomer, vocabulary=words, share=0.8)
        self._explorer = NoisyExpert(near, vocabulary=words, locks=frozenset(settings.locked))

    def before(self, *, name: str, num: int, offset: int) -> list[Trajectory]:
        return play(self.old, name=name, num=num, offset=offset)

    def after(self, *, name: str, num: int, offset: int) -> list[Trajectory]:
        players = {"expert": self._newcomer, "explorer": self._explorer}
        return play(self.new, name=name, num=num, offset=offset, **players)


class Model:
    """A world model that learns, and what it gets right."""

    def __init__(self, settings: Settings, *, folder: Path, seed: int, replay_ratio: float) -> None:
        config = make_model([], folder=folder, seed=seed)
        self._optimizer = OptimizerConfig(
            learning_rate=settings.learning_rate, tokens_per_batch=1024
        )
        self._trainer, self._renderer = fresh_trainer(config, optimizer=self._optimizer)
        learner = WorldModelLearnerConfig(
            optimizer=self._optimizer,
            first_epochs=settings.first_epochs,
            epochs=settings.epochs,
            replay_ratio=replay_ratio,
            gate=GateConfig(enabled=False),
        )
        self.learner = LLMWorldModelLearner(self._trainer, self._renderer, learner, seed=seed)

    def exact_match(self, episodes: Sequence[Trajectory]) -> dict[str, float]:
        """By what the change did to a transition, and over all."""
        scores = score_turns(self._trainer.model, self._renderer, episodes, use_hidden_state=True)
        fitting = {score.trajectory_id for score in scores}  # the others outgrow the context
        turns = [turn for episode in episodes if episode.id in fitting for turn in episode.turns]
        groups: dict[str, list[TurnScore]] = {CHANGED: [], DOORS: [], OTHER: []}
        for turn, score in zip(turns, scores, strict=True):
            groups[kind_of_turn(turn)].append(score)
        return {name: exact_match(found) for name, found in groups.items()} | {
            "all": exact_match(scores)
        }


def run_seed(seed: int, *, settings: Settings, folder: Path) -> dict[str, Any]:
    """Every strategy from one model of the old rules; what is in `folder` is read."""
    path = folder / f"seed{seed}.json"
    if path.exists():
        kept = read_json(path)
        if kept["settings"] == asdict(settings):
            return kept["result"]
    worlds = Worlds(settings)
    first = seed * settings.houses_per_seed
    held_out = worlds.after(
        name="held out", num=settings.held_out, offset=_FIRST_HELD_OUT + settings.held_out * seed
    )
    opening = worlds.before(name="before", num=settings.opening, offset=first)
    rounds = [
        worlds.after(
            name="after",
            num=settings.episodes_per_round,
            offset=_FIRST_AFTER + first + settings.episodes_per_round * round,
        )
        for round in range(settings.rounds)
    ]
    old = Model(settings, folder=folder / "model", seed=seed, replay_ratio=0.0)
    old.learner.update(opening, _buffer(settings, {"name": "fifo"}, seed=seed))
    old.learner.save(str(folder / f"learned{seed}"))
    result: dict[str, Any] = {
        "seed": seed,
        "before": old.exact_match(held_out),
        "num_turns": _num_turns(held_out),
        "strategies": {},
    }
    for name, chosen in settings.strategies.items():
        ratio = float(chosen.get("replay_ratio", settings.replay_ratio))
        model = Model(settings, folder=folder / "model", seed=seed, replay_ratio=ratio)
        model.learner.load(str(folder / f"learned{seed}"))
        buffer = _buffer(settings, chosen, seed=seed)
        curve = _live_on(model, buffer, opening=opening, rounds=rounds, held_out=held_out)
        result["strategies"][name] = {
            "curve": curve,
            "steps_until_right": steps_until_right(curve, right_at=settings.right_at),
            "bytes": buffer.num_bytes if isinstance(buffer, HasMemory) else 0,
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value={"settings": asdict(settings), "result": result})
    return result


def _live_on(
    model: Model,
    buffer: ReplayBuffer,
    *,
    opening: Sequence[Trajectory],
    rounds: Sequence[Sequence[Trajectory]],
    held_out: Sequence[Trajectory],
) -> list[dict[str, float]]:
    """Under the new rules, round by round; the buffer is told of the change."""
    _begin(buffer, "before")
    for episode in opening:
        buffer.add(episode)
    _begin(buffer, "after")
    curve: list[dict[str, float]] = []
    steps = 0
    for fresh in rounds:
        for episode in fresh:
            buffer.add(episode)
        model.learner.update(fresh, buffer)
        steps += sum(len(episode.turns) for episode in fresh)
        curve.append({"real_steps": float(steps), **model.exact_match(held_out)})
    return curve


def _buffer(settings: Settings, chosen: Mapping[str, Any], *, seed: int) -> ReplayBuffer:
    named = PluginConfig(name=chosen["name"], params=dict(chosen.get("params", {})))
    return build(
        "replay_buffers",
        named,
        max_transitions=100_000,
        max_bytes=settings.max_bytes,
        seed=seed,
    )


def _begin(buffer: ReplayBuffer, name: str) -> None:
    if isinstance(buffer, HasExperiences):
        buffer.begin_experience(name)


def _num_turns(episodes: Sequence[Trajectory]) -> dict[str, int]:
    kinds = [kind_of_turn(turn) for episode in episodes for turn in episode.turns]
    return {kind: kinds.count(kind) for kind in (CHANGED, DOORS, OTHER)}


def steps_until_right(curve: Sequence[Mapping[str, float]], *, right_at: float) -> float | None:
    """Real steps after which the model is right about what has changed, and stays so; None where
    it never is."""
    right: float | None = None
    for point in curve:
        if point[CHANGED] < right_at:
            right = None
        elif right is None:
            right = point["real_steps"]
    return right


def section(result: Path) -> str:
    """What the page says of the change of rules, from its JSON."""
    found = read_json(result)
    settings, seeds = found["settings"], found["seeds"]
    before = [seed["before"] for seed in seeds]
    rows = [
        ["before any of it is learned", "", *(_mean([b[k] for b in before]) for k in _SHOWN), ""]
    ]
    for name in settings["strategies"]:
        runs = [seed["strategies"][name] for seed in seeds]
        steps = [run["steps_until_right"] for run in runs]
        reached = sorted(s for s in steps if s is not None)
        when = f"{reached[len(reached) // 2]:.0f}" if 2 * len(reached) > len(runs) else "-"
        last = [run["curve"][-1] for run in runs]
        cells = [_mean([point[kind] for point in last]) for kind in _SHOWN]
        kilobytes = f"{max(run['bytes'] for run in runs) / 1024:.0f}"
        rows.append([name, f"{when} ({len(reached)} of {len(runs)})", *cells, kilobytes])
    steps = seeds[0]["strategies"][next(iter(settings["strategies"]))]["curve"][-1]["real_steps"]
    intro = (
        f"A model learns a kitchen from {settings['opening']} episodes; then every "
        f"{' and '.join(settings['locked'])} locks. {settings['rounds']} rounds of "
        f"{settings['episodes_per_round']} episodes follow (about {steps:.0f} steps). Steps until "
        f"right: real steps from the change until exact match on the changed transitions is "
        f"{settings['right_at']:.0%} and stays there, median over {len(seeds)} seeds, and how many "
        f"get there. The other columns are exact match at the end on held-out episodes of the "
        f"changed world, mean [95% interval] over seeds: transitions whose answer has changed, "
        f"doors that open as ever, everything else."
    )
    header = ["Replay", "Steps until right", "Changed", "Doors", "Other", "KiB kept"]
    return "\n\n".join([intro, markdown(header, rows)])


_SHOWN = (CHANGED, DOORS, OTHER)


def _mean(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    rate = student_t(values)
    return f"{rate.estimate:.3f} [{max(0.0, rate.low):.3f}, {min(1.0, rate.high):.3f}]"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, help="a YAML file like rule_change.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/continual_rule_change"))
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--parallel", type=int, default=1, help="seeds at once")
    options = parser.parse_args(arguments)
    settings, console = read_settings(options.settings), Console()
    worlds = Worlds(settings)
    words = [
        *worlds.before(name="words", num=_WORDS, offset=_FIRST_OF_WORDS),
        *worlds.after(name="new words", num=_WORDS, offset=_FIRST_OF_WORDS),
    ]
    make_model(words, folder=options.runs / "model")
    run = partial(run_seed, settings=settings, folder=options.runs)
    with ProcessPoolExecutor(options.parallel, mp_context=get_context("spawn")) as pool:
        seeds: list[dict[str, Any]] = []
        for result in pool.map(run, settings.seeds):
            seeds.append(result)
            console.print(f"seed {result['seed']} done")
    path = options.output / f"{settings.name}.json"
    write_json(path, value={"settings": asdict(settings), "machine": machine(), "seeds": seeds})
    console.print(section(path))


if __name__ == "__main__":
    main()
