"""Makes the model that `tiny` stands for, from the episodes that a run begins with.

The demonstrations and explorations are played first, kept in the run's journal, and read from
there when the run itself begins: they are spent, and entered in the ledger, once.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dyna.config import ModelConfig, RunConfig
from dyna.files import read_json, sync, write_json
from dyna.grammar import write_verdict
from dyna.tokenizer import train_open_tokenizer
from dyna.training.models import BASE_MODEL, TINY_MODEL, load_model, load_tokenizer, no_bars
from dyna.types import Trajectory
from experiments.build import build_player, build_run
from experiments.journal import ExperienceJournal
from experiments.tiny.transfer import Beginning, transfer_vocabulary
from experiments.tiny.warm_up import MAX_STEPS, warm_up

FOLDER = "tiny_model"
"""Of the model, inside the folder of its run."""
RECORD = "tiny.json"
"""What the model was made from; written last, so a folder that has it is whole."""
_MAX_VERDICTS = 64


def wants_tiny_model(config: RunConfig) -> bool:
    return TINY_MODEL in (config.policy.model.path, config.world_model.model.path)


def with_tiny_model(
    config: RunConfig, *, folder: Path, console: Console | None = None
) -> RunConfig:
    """`config` with the folder of the run's own model in the place of `tiny`.

    `folder` is the run's. The model is made if it is not there: deterministic in the config, so a
    folder that was lost is made again as it was. A config that wants none comes back as it is.
    """
    if not wants_tiny_model(config):
        return config
    place = (folder / FOLDER).absolute()
    if not (place / RECORD).exists():
        console = console or Console()
        journal = ExperienceJournal(folder / "experience")
        with console.status("playing the first real episodes, to learn the words of this world"):
            episodes, seconds = play_opening(config, journal=journal)
        record = make_tiny_model(episodes, folder=place, config=config, seconds=seconds)
        console.print(describe(record))
    return put_model(config, path=str(place))


def put_model(config: RunConfig, *, path: str) -> RunConfig:
    """`config` with `path` wherever it says `tiny`."""

    def named(model: ModelConfig) -> ModelConfig:
        return replace(model, path=path) if model.path == TINY_MODEL else model

    return replace(
        config,
        policy=replace(config.policy, model=named(config.policy.model)),
        world_model=replace(config.world_model, model=named(config.world_model.model)),
    )


def seconds_played(folder: Path) -> float:
    """Seconds of real play that went before the run in `folder`; 0 where it made no model."""
    path = folder / FOLDER / RECORD
    return float(read_json(path)["seconds_played"]) if path.exists() else 0.0


def play_opening(
    config: RunConfig, *, journal: ExperienceJournal | None = None
) -> tuple[list[Trajectory], float]:
    """The demonstrations and explorations that the run begins with, and the seconds they took.

    Scripted behaviors play them, so no model is needed. What `journal` holds is not played again.
    """
    scripted = replace(
        config,
        policy=replace(config.policy, name="random", params={}),
        world_model=replace(config.world_model, name="tabular", params={}),
    )
    player = build_player(scripted)
    if journal is not None:
        player.crew.on_episode = journal.note
    made = build_run(scripted, player=player, crew=player.crew, trainers={}, journal=journal)
    began = time.monotonic()
    try:
        episodes, _ = made.loop.play_opening()
    finally:
        if journal is not None:
            journal.flush()
        player.crew.close()
    return episodes, time.monotonic() - began


def make_tiny_model(
    episodes: Sequence[Trajectory],
    *,
    folder: Path,
    config: RunConfig,
    seconds: float = 0.0,
    beginning: Beginning = Beginning.EXERCISED,
) -> dict[str, Any]:
    """Write model, tokenizer and a record of both into `folder`, whole or not at all.

    Returns the record. Raises `ValueError` when there is no episode to learn the words from.
    """
    whole = [episode for episode in episodes if not episode.stop.is_failure]
    if not whole:
        raise ValueError(
            f"a tiny model for `{config.world.name}` is learned from real episodes, and there are "
            "none; set real.demonstrations or real.explorations"
            + (f" (the first one failed: {episodes[0].error})" if episodes else "")
        )
    base = ModelConfig(path=BASE_MODEL)
    tokenizer = train_open_tokenizer(
        [_messages(episode, with_hidden=config.world_model.use_hidden_state) for episode in whole],
        phrases=_verdicts(whole),
    )
    model = transfer_vocabulary(
        load_model(base),
        old=load_tokenizer(base),
        new=tokenizer,
        max_context=max(config.policy.model.max_context, config.world_model.model.max_context),
        beginning=Beginning.TRANSFER if beginning is Beginning.EXERCISED else beginning,
        seed=config.seed,
    )
    real_steps = sum(len(episode.turns) for episode in episodes)
    exercises = min(MAX_STEPS, real_steps // 4) if beginning is Beginning.EXERCISED else 0
    warm_up(model, tokenizer, steps=exercises, seed=config.seed)
    record = {
        "world": config.world.name,
        "beginning": beginning.value,
        "exercise_steps": exercises,
        "real_episodes": len(episodes),
        "real_steps": real_steps,
        "seconds_played": seconds,
        "vocabulary": len(tokenizer),
        "parameters": model.num_parameters(),
        "seed": config.seed,
    }
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.draft")
    draft.mkdir(parents=True)
    with no_bars():
        model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)
    write_json(draft / RECORD, value=record)
    if folder.exists():  # one without a record, left by nobody knows whom
        shutil.rmtree(folder)
    draft.rename(folder)
    sync(folder.parent)
    return record


def describe(record: dict[str, Any]) -> str:
    return (
        f"tiny model for {record['world']}: {record['vocabulary']:,} tokens and "
        f"{record['parameters'] / 1e6:.2f}M parameters, its words from "
        f"{record['real_episodes']:,} real episodes ({record['real_steps']:,} steps)"
    )


def _messages(episode: Trajectory, *, with_hidden: bool) -> list[str]:
    hidden = (episode.start.hidden_state or "") if with_hidden else ""
    said = [episode.start.observation, hidden]
    for turn in episode.turns:
        said += [turn.action.said, turn.outcome.observation]
    return [text for text in said if text]


def _verdicts(episodes: Sequence[Trajectory]) -> list[str]:
    """The most frequent endings of an answer; each becomes one token."""
    counts = Counter(write_verdict(turn.outcome) for episode in episodes for turn in episode.turns)
    return [verdict for verdict, _ in counts.most_common(_MAX_VERDICTS)]


__all__ = [
    "FOLDER",
    "RECORD",
    "describe",
    "make_tiny_model",
    "play_opening",
    "put_model",
    "seconds_played",
    "wants_tiny_model",
    "with_tiny_model",
]
