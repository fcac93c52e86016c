"""Whole runs of tables in rows of rooms, small enough for unit tests of what guards them."""

from __future__ import annotations

from dyna.config import RunConfig
from dyna.configuring import load
from dyna.rllib.parts import Run
from experiments.build import build_player, build_run

SETTINGS = (
    "world.name=experiments.studies.continual.rows:RowsWorld",
    "world.params.num_doors=4",
    "world.params.num_rows=10",
    "world.max_turns=20",
    "policy.name=tabular",
    "policy.params.epsilon=0.3",
    "world_model.name=experiments.studies.continual.rows:HoledModel",
    "real.demonstrations=30",
    "real.expert.name=random",
    "real.explorations=0",
    "real.episodes_per_round=4",
    "real.group_size=1",
    "imagination.episodes_per_round=200",
    "imagination.batches_per_round=2",
    "imagination.group_size=2",
    "imagination.branch_fraction=0.5",
    "evaluation.num_tasks=10",
    "evaluation.imagined=false",
    "evaluation.fidelity_episodes=0",
    "alarm.tolerance=0.05",
)
HOLE = "world_model.params.opens_after=2"
"""From round 2 on the window pays."""


def settings(*changes: str) -> RunConfig:
    return load(overrides=[*SETTINGS, *changes])


def make(config: RunConfig) -> Run:
    player = build_player(config)
    return build_run(config, player=player, crew=player.crew, trainers={})


def make_run(*changes: str) -> Run:
    return make(settings(*changes))
