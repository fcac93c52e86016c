"""The tiny model that all runs of a study begin with: it knows the words of all experiences.

Only words: its tokenizer has read a few episodes of every world, its weights none. A run that met
the words as it went along would spell new ones letter by letter, and the study would measure that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from dyna.training.models import BASE_MODEL
from experiments.studies.continual.settings import Study, run_config
from experiments.tiny.making import RECORD, describe, make_tiny_model, play_opening

_EPISODES = 24
"""Of each experience, half of them shown by the expert; no run learns from these houses."""
_FIRST_TASK = 90_000


def study_model(study: Study, *, folder: Path, console: Console) -> list[str]:
    """The settings that name the model, made in `folder` if it is not there; none for a study of
    models that are ready as they are."""
    config = run_config(study)
    if config.policy.model.path != "tiny":
        return []
    place = (folder / "model").absolute()
    if not (place / RECORD).exists():
        episodes = []
        for part in config.stream.experiences:
            real = replace(part.real, demonstrations=_EPISODES // 2, explorations=_EPISODES // 2)
            stream = replace(config.stream, experiences=[replace(part, real=real)])
            world = replace(config.world, first_task=_FIRST_TASK)
            with console.status(f"reading the words of {part.name}"):
                played, _ = play_opening(replace(config, stream=stream, world=world))
            episodes += played
        base = replace(config.policy.model, path=BASE_MODEL)
        plain = replace(config, policy=replace(config.policy, model=base))
        console.print(describe(make_tiny_model(episodes, folder=place, config=plain)))
    return [f"policy.model.path={place}", f"world_model.model.path={place}"]


__all__ = ["study_model"]
