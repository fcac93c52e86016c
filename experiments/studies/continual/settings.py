"""A study of continual learning as its YAML says it, and the runs that it is made of.

Every strategy learns the same stream from the same weights, with the same seeds and the same real
budget. Beside them stand what frames them: joint training on everything at once and every
experience alone (what could be reached), and the untrained models (what there was before).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from dyna import configuring
from dyna.config import RunConfig
from experiments.studies.jobs import Job
from experiments.usage import find_config

JOINT, ALONE, BEFORE = "joint", "alone", "before"
"""The references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One YAML of this folder."""

    name: str
    """Names its results."""
    config: str
    """The run that everything is a change of."""
    seeds: list[int]
    houses_per_seed: int = 500
    """Train tasks of each experience set apart for a seed."""
    common: list[str] = field(default_factory=list[str])
    """Settings of every run."""
    experiences: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """As `stream.experiences` of a run."""
    strategies: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """By name, what each changes."""
    references: list[str] = field(default_factory=lambda: [BEFORE, JOINT, ALONE])
    smoke: list[str] = field(default_factory=list[str])
    """Changes of every run that make the study small enough to be a test."""


def available() -> list[str]:
    """The names of the studies that `read` knows."""
    place = files("experiments.studies.continual")
    found = [entry.name for entry in place.iterdir() if entry.name.endswith(".yaml")]
    return sorted(name.removesuffix(".yaml") for name in found if name.startswith("chain_"))


def read(name: str) -> Study:
    """By the name of a shipped YAML, or from a file of one's own.

    Raises `ConfigError` for what cannot be read or has unknown keys.
    """
    own = Path(name)
    if own.suffix in (".yaml", ".yml"):
        return configuring.load_tree(Study, path=own)
    place = files("experiments.studies.continual").joinpath(f"{name}.yaml")
    if not place.is_file():
        raise configuring.ConfigError(
            f"there is no study {name!r}; choose from {', '.join(available())}, or give a YAML file"
        )
    return configuring.load_tree(Study, path=Path(str(place)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """All runs of a study, by what they are."""

    strategies: dict[str, list[Job]]  # name -> one for each seed
    joint: list[Job]
    alone: dict[str, list[Job]]  # experience -> one for each seed
    before: list[Job]

    @property
    def all(self) -> list[Job]:
        """Seed by seed, so that a study that is cut short compares what it has."""
        rows = [*self.strategies.values(), self.joint, *self.alone.values(), self.before]
        num_seeds = max(len(row) for row in rows)
        return [row[place] for place in range(num_seeds) for row in rows if place < len(row)]


def plan(study: Study, *, folder: Path, changes: Sequence[str] = ()) -> Runs:
    """The runs of a study in `folder`; `changes` are of every one of them."""

    def row(arm: str, settings: Sequence[str]) -> list[Job]:
        return [
            Job(
                arm=arm,
                seed=seed,
                settings=(
                    study.config,
                    *study.common,
                    f"world.first_task={seed * study.houses_per_seed}",
                    *settings,
                    *changes,
                ),
                folder=folder / arm / f"seed{seed}",
            )
            for seed in study.seeds
        ]

    stream = as_override("stream.experiences", study.experiences)
    together = [stream, "stream.joint=true", "evaluation.every=1000"]
    untrained = [
        as_override("stream.experiences", [_untouched(entry) for entry in study.experiences]),
        "stream.joint=true",
        "world_model_learner.first_epochs=0",
        "policy_learner.imitation_epochs=0",
    ]
    alone = {
        str(entry["name"]): row(
            f"{ALONE}_{entry['name']}",
            [as_override("stream.experiences", [entry]), *_share_of_evaluation(study)],
        )
        for entry in (study.experiences if ALONE in study.references else [])
    }
    return Runs(
        strategies={
            name: row(name, [stream, *settings]) for name, settings in study.strategies.items()
        },
        joint=row(JOINT, together) if JOINT in study.references else [],
        alone=alone,
        before=row(BEFORE, untrained) if BEFORE in study.references else [],
    )


def run_config(study: Study, *, settings: Sequence[str] = ()) -> RunConfig:
    """What a run of the whole stream with these settings is."""
    stream = as_override("stream.experiences", study.experiences)
    overrides = [*study.common, stream, *settings]
    return configuring.load(find_config(study.config), overrides=overrides)


def _untouched(experience: Mapping[str, Any]) -> dict[str, Any]:
    """With the one real episode that a run must have; nothing is learned from it."""
    shown = bool(experience.get("real", {}).get("demonstrations"))
    real = {"demonstrations": int(shown), "explorations": int(not shown)}
    return {**experience, "rounds": 0, "real": real}


def as_override(key: str, value: object) -> str:
    """`key=value` for any JSON value."""
    return f"{key}={json.dumps(value)}"


def _share_of_evaluation(study: Study) -> list[str]:
    """One experience is measured on as many tasks as it is among the others."""
    config, num = run_config(study).evaluation, len(study.experiences)
    return [
        f"evaluation.num_tasks={config.num_tasks // num}",
        f"evaluation.fidelity_episodes={config.fidelity_episodes // num}",
        f"evaluation.first_task={config.first_task // num}",
    ]


__all__ = ["ALONE", "BEFORE", "JOINT", "Runs", "Study", "available", "plan", "read", "run_config"]
