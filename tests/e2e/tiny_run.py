"""A whole run in a second or two: a random model of a few thousand weights in small houses."""

from __future__ import annotations

import asyncio
import io
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.scripted import ExpertPolicy
from dyna import checkpoint
from dyna.config import RunConfig
from dyna.configuring import load
from dyna.envs.household import HouseholdWorld
from dyna.rollout import EpisodeSpec, Limits, rollout
from dyna.testing import tiny_model
from dyna.tokenizer import train_tokenizer
from dyna.tracking import read_metrics
from dyna.types import Credit, Metrics, Source, TrajectoryGroup
from experiments.run import run
from experiments.watch import Progress

SETTINGS = (
    "name=tiny", "rounds=3", "world.params={admissible: true}", "world.max_turns=4",
    "policy.actions=admissible", "policy_learner.imitation_epochs=1", "policy_learner.ref_kl=0.1",
    "policy_learner.optimizer.tokens_per_batch=1024", "world_model.max_new_tokens=8",
    "world_model_learner.optimizer.tokens_per_batch=1024", "world_model_learner.first_epochs=1",
    "world_model_learner.epochs=1", "world_model_learner.gate.holdout_fraction=0.2",
    "world_model_learner.gate.min_turns=1",
    "real.demonstrations=2", "real.explorations=4", "real.episodes_per_round=4",
    "real.group_size=2", "imagination.episodes_per_round=8", "imagination.group_size=4",
    "imagination.batches_per_round=2", "imagination.horizon=3", "imagination.branch_fraction=0.3",
    "evaluation.num_tasks=2", "evaluation.fidelity_episodes=2",
)  # fmt: skip


class Praise:
    """An algorithm to which every action is worth something, so that every update changes weights:
    a random model is never rewarded in a dream."""

    def __call__(self, groups: Sequence[TrajectoryGroup]) -> list[Credit]:
        return [
            Credit(trajectory=t, rl=(0.0,) * t.branch_point + (1.0,) * len(t.new_turns))
            for group in groups
            for t in group.trajectories
        ]


def settings(model: Path, *changes: str) -> list[str]:
    """`key=value` pairs, as for the command line."""
    places = [f"{part}.model.path={model}" for part in ("policy", "world_model")]
    return [*SETTINGS, *places, *changes]


def tiny(model: Path, *changes: str) -> RunConfig:
    return load(overrides=settings(model, *changes))


def play(
    config: RunConfig, *, folder: Path, resume: bool = False, progress: Progress | None = None
) -> str:
    """Run; returns what the console showed."""
    screen = io.StringIO()
    console = Console(file=screen, width=120)
    report = run(config, folder=folder, resume=resume, console=console, progress=progress)
    assert report.is_file()
    return screen.getvalue()


class StopAt(Progress):
    """Sends this process a signal at the beginning of a phase."""

    def __init__(
        self, phase: str, *, round: int, folder: Path, signum: int = signal.SIGTERM
    ) -> None:
        super().__init__(rounds=3, console=Console(file=io.StringIO()), folder=folder)
        self.at = (round, phase)
        self.now = -1
        self.signum = signum

    def begin_round(self, round: int) -> None:
        super().begin_round(round)
        self.now = round

    @contextmanager
    def phase(self, name: str, *, total: int) -> Iterator[None]:
        with super().phase(name, total=total):
            if (self.now, name) == self.at:
                signal.raise_signal(self.signum)
            yield


def metrics_of(folder: Path) -> list[tuple[int, Metrics]]:
    """By round, as text so that NaN equals NaN; without seconds, on which no two runs agree."""
    return [
        (round, {k: repr(v) for k, v in metrics.items() if not k.startswith("time/")})  # type: ignore[misc]
        for round, metrics in read_metrics(folder)
    ]


def state_of(folder: Path) -> dict[str, bytes]:
    """Every file of the newest checkpoint: weights, optimizers, buffers, counts; not seconds."""
    newest = checkpoint.latest(folder)
    assert newest is not None
    skipped = {checkpoint.MARKER, "seconds.json"}
    return {
        path.relative_to(newest).as_posix(): path.read_bytes()
        for path in sorted(newest.rglob("*"))
        if path.is_file() and path.name not in skipped
    }


def assert_same(folder: Path, expected: Path) -> None:
    """The same round, state and numbers, to the last bit."""
    newest, other = checkpoint.latest(folder), checkpoint.latest(expected)
    assert newest is not None and other is not None and newest.name == other.name
    ours, theirs = state_of(folder), state_of(expected)
    assert ours.keys() == theirs.keys() and len(ours) > 8
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert metrics_of(folder) == metrics_of(expected)


def save_tiny_model(folder: Path) -> None:
    """A random model, and a tokenizer trained on a few episodes of the household's text."""
    world = HouseholdWorld(admissible=True)
    episodes = asyncio.run(
        rollout(
            [
                EpisodeSpec(task=task, episode_id=task.id)
                for task in world.tasks(split="train", num=20)
            ],
            policy=ExpertPolicy(world.expert),
            make_env=lambda _: world.make(),
            limits=Limits(max_turns=20),
            source=Source.REAL,
        )
    )
    texts = [text for t in episodes for text in (t.start.observation, t.start.hidden_state or "")]
    for turn in (turn for episode in episodes for turn in episode.turns):
        texts += [turn.action.command, turn.outcome.observation]
    tokenizer: Any = train_tokenizer(texts)
    tiny_model(len(tokenizer), hidden_size=32, num_layers=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
