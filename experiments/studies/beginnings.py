"""What the way a tiny model begins is worth: the same data, order and steps, scored alike.

    python -m experiments.tiny_model textworld --compare docs/results/tiny_textworld.json

Every third of the config's first real episodes is held out, whole; on the rest a world model is
trained from each beginning, and scored one step ahead on the held-out turns after each part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dyna.config import RunConfig
from dyna.evaluation.fidelity import exact_match, rate
from dyna.files import write_json
from dyna.rendering import Renderer
from dyna.training.models import load_model, load_tokenizer
from dyna.training.trainer import TokenTrainer
from dyna.types import TrainingSample, Trajectory
from experiments.tiny.making import make_tiny_model
from experiments.tiny.transfer import Beginning
from worldmodels.scoring import score_turns

_PARTS = 4


def compare(
    episodes: Sequence[Trajectory], *, config: RunConfig, path: Path, console: Console
) -> None:
    """Train and score from every `Beginning`; write the figures to `path` and show them."""
    whole = [episode for episode in episodes if not episode.stop.is_failure]
    held_out = whole[::3]
    training = [episode for index, episode in enumerate(whole) if index % 3]
    results: dict[str, Any] = {}
    for beginning in Beginning:
        with console.status(f"training from {beginning}"), tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            # Words of the training part alone: what is held out may hold others.
            make_tiny_model(training, folder=folder, config=config, beginning=beginning)
            results[beginning.value] = _learn(training, held_out, config=config, folder=folder)
    learner = config.world_model_learner
    value = {
        "world": config.world.name,
        "params": config.world.params,
        "seed": config.seed,
        "training_episodes": len(training),
        "held_out_episodes": len(held_out),
        "epochs": learner.first_epochs,
        "beginnings": results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value=value)
    console.print(_table(value))


def _learn(
    training: Sequence[Trajectory],
    held_out: Sequence[Trajectory],
    *,
    config: RunConfig,
    folder: Path,
) -> list[dict[str, float]]:
    model = replace(config.world_model.model, path=str(folder))
    renderer = Renderer(load_tokenizer(model), max_context=model.max_context)
    trainer = TokenTrainer(load_model(model), optimizer=config.world_model_learner.optimizer)
    samples = _samples(training, renderer=renderer, config=config)
    figures: list[dict[str, float]] = [_score(trainer, renderer, held_out, config=config)]
    for part in range(_PARTS):
        epochs = config.world_model_learner.first_epochs / _PARTS
        trained = trainer.train(samples, epochs=epochs, seed=part)
        score = _score(trainer, renderer, held_out, config=config)
        figures.append({"epochs": (part + 1) * epochs, "loss": trained["loss_ce"], **score})
    return figures


def _samples(
    episodes: Sequence[Trajectory], *, renderer: Renderer, config: RunConfig
) -> list[TrainingSample]:
    made = [
        renderer.model_sample(episode, use_hidden_state=config.world_model.use_hidden_state)
        for episode in episodes
    ]
    return [sample for sample in made if sample is not None]


def _score(
    trainer: TokenTrainer,
    renderer: Renderer,
    held_out: Sequence[Trajectory],
    *,
    config: RunConfig,
) -> dict[str, float]:
    scores = score_turns(
        trainer.model,
        renderer,
        held_out,
        use_hidden_state=config.world_model.use_hidden_state,
    )
    return {
        "em": exact_match(scores),
        "observation_em": rate(score.observation_exact for score in scores),
        "turns": float(len(scores)),
    }


def _table(value: dict[str, Any]) -> Table:
    """Exact match on held-out turns, by beginning and by epochs trained."""
    table = Table(title=f"{value['world']}: exact match on held-out turns", box=None)
    table.add_column("beginning")
    rows: dict[str, list[dict[str, float]]] = value["beginnings"]
    for figures in next(iter(rows.values())):
        table.add_column(f"{figures.get('epochs', 0):g} epochs", justify="right")
    for name, row in rows.items():
        table.add_row(name, *(f"{figures['em']:.3f}" for figures in row))
    return table


__all__ = ["compare"]
