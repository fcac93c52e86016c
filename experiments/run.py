"""One run in its folder: build, play the rounds, keep everything, end with a report.

    config.yaml  state.json  metrics.jsonl  experience/  checkpoints/  episodes.json  report.html
    tiny_model/  where the config asks for one   refused/  world models that the gate refused

After every round the whole state is saved. Real episodes are written down as they are played, so
a run that dies in the middle of a round does not spend them again. A run that loses its learners
does by itself what `dyna resume` would: all actors are made anew, and the round begins again.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from rich.console import Console

from dyna import checkpoint, configuring
from dyna.config import Backend, RunConfig
from dyna.files import write_json
from dyna.ledger import ACT
from dyna.loop import HasMetrics
from dyna.rllib.failures import LostLearnerError
from dyna.rllib.parts import Run
from dyna.stream import Stream
from dyna.tracking import Tracker
from dyna.types import Metrics, Trajectory
from experiments.build import build_player, build_run, build_trainers
from experiments.estimates import refuse_what_cannot_fit
from experiments.evaluation import HeldOutEvaluator
from experiments.guards import write_trips
from experiments.journal import ExperienceJournal
from experiments.report import build_report, summary_table
from experiments.scoring import play_held_out, record
from experiments.tiny.making import seconds_played, with_tiny_model
from experiments.viewing import viewer_pairs
from experiments.watch import Interrupted, Progress
from worldmodels.learner import LLMWorldModelLearner

_log = logging.getLogger(__name__)

_NUM_SHOWN = 24
"""Episodes in the report's viewer."""
MAX_RECOVERIES = 3
"""Times that one round begins again because its learners are lost; then the fault is its own."""


def run(
    config: RunConfig,
    *,
    folder: Path,
    resume: bool = False,
    console: Console | None = None,
    progress: Progress | None = None,
) -> Path:
    """Play all rounds and return the path of the report.

    `progress` is who shows what goes on and may stop the run; by default bars on `console`.
    Raises `TooLittleMemoryError` where a GPU that is seen from here is too small for the run,
    `Interrupted` after SIGTERM or SIGINT, `DamagedFileError` for a model, checkpoint or
    journal that is not whole, `OSError` when the disk is full, and `BrokenPolicyError` or
    `BrokenDreamError` when a part cannot work at all. Raises `LostLearnerError` when learners die
    in one round again and again, and `LostRunnersError` or `EngineLostError` when too few actors
    are left to play; `dyna resume` goes on when the machines are well. What was committed stays as
    it was.
    """
    console = console or Console()
    folder.mkdir(parents=True, exist_ok=True)
    configuring.save(config, path=folder / "config.yaml")
    refuse_what_cannot_fit(config)
    config = with_tiny_model(config, folder=folder, console=console)
    last = Stream.of(config).last_round
    progress = progress or Progress(rounds=last, console=console, folder=folder)
    num_lost, lost_in = 0, -1
    while True:
        try:
            _attempt(config, folder=folder, resume=resume, progress=progress)
            break
        except LostLearnerError as error:
            num_lost = num_lost + 1 if progress.round <= lost_in else 1
            lost_in = max(progress.round, lost_in)
            if num_lost > MAX_RECOVERIES:
                progress.note("failed")
                raise
            _log.warning("%s; the run does so by itself, with new actors", error)
            resume = True
    report = build_report(folder)
    console.print(summary_table(folder))
    return report


def _attempt(config: RunConfig, *, folder: Path, resume: bool, progress: Progress) -> None:
    """Play to the end with parts and actors made here, all of which end with it."""
    with opened(config, progress=progress, folder=folder) as (made, _), progress.running():
        first = restore(made, folder=folder) if resume else 0
        if resume:
            Tracker(folder).rewind(first - 1)
        if first == 0:
            made.loop.ledger.add_seconds(ACT, seconds=seconds_played(folder))
        _play(config, made, folder=folder, first_round=first, progress=progress)
        _write_episodes(made, folder=folder)


def evaluate(folder: Path, *, console: Console | None = None) -> Path:
    """Measure what the newest checkpoint holds on tasks new to the run; rewrite the report.

    Returns the path of `evaluation.json`. Raises `CheckpointError` for a run without a whole
    checkpoint, and `ValueError` when the world has too few held-out tasks left.
    """
    console = console or Console()
    config = configuring.load_saved(folder / "config.yaml")
    if checkpoint.latest(folder) is None:
        raise checkpoint.CheckpointError(
            f"{folder} has no whole checkpoint yet; `dyna resume {folder}` continues the run"
        )
    config = with_tiny_model(config, folder=folder, console=console)
    with opened(config, folder=folder) as (made, evaluator):
        done = restore(made, folder=folder) - 1
        with console.status(f"measuring what round {done} left, on tasks new to the run"):
            measured, ledger = play_held_out(config, evaluator=evaluator)
            found = record(measured, seed=config.seed)
    spent = {name: ledger[name].steps for name in ("evaluation", "imagined_evaluation")}
    path = folder / "evaluation.json"
    write_json(path, value={"round": done, "steps": spent, **found})
    build_report(folder)
    return path


@contextmanager
def opened(
    config: RunConfig, *, folder: Path, progress: Progress | None = None
) -> Iterator[tuple[Run, HeldOutEvaluator]]:
    """The parts of a run, in this process or on RLlib's actors, which end with the block."""
    journal = ExperienceJournal(folder / "experience")
    on_episode = _on_episode(journal, progress=progress)
    if config.runtime.backend is Backend.LOCAL:
        player = build_player(config)
        player.crew.on_episode = on_episode
        made = build_run(
            config,
            player=player,
            crew=player.crew,
            trainers=build_trainers(config),
            journal=journal,
            progress=progress,
        )
        _keep_refused(made, folder=folder)
        try:
            yield made, _evaluator(made)
        finally:
            journal.flush()
            player.crew.close()
        return
    from dyna.cluster.connection import connect, disconnect

    started = connect(config.runtime, engine=config.engine)
    try:
        from dyna.rllib import Dyna, DynaConfig  # imports Ray, hence after connect

        settings = DynaConfig().dyna(run_config=config, build="experiments.build")
        algorithm = cast(Dyna, settings.build_algo())
        try:
            made = algorithm.run
            made.loop.journal = journal
            _keep_refused(made, folder=folder)
            if progress is not None:
                made.loop.watch = progress
            algorithm.crew.player.crew.on_episode = on_episode
            yield made, _evaluator(made)
        finally:
            journal.flush()
            algorithm.crew.player.crew.close()
            algorithm.stop()
    finally:
        if started:  # takes every actor of the run along, even those that do not answer
            disconnect()


def _on_episode(
    journal: ExperienceJournal, *, progress: Progress | None
) -> Callable[[Trajectory], None]:
    """An episode is kept before anybody may stop the run."""

    def on_episode(trajectory: Trajectory) -> None:
        journal.note(trajectory)
        if progress is not None:
            progress.on_episode(trajectory)

    return on_episode


def _keep_refused(made: Run, *, folder: Path) -> None:
    """World models that the gate refuses are written down, to be looked at."""
    learner = made.loop.model_learner
    if isinstance(learner, LLMWorldModelLearner):
        learner.gate.folder = folder / "refused"


def _evaluator(made: Run) -> HeldOutEvaluator:
    evaluator = made.loop.evaluator
    if not isinstance(evaluator, HeldOutEvaluator):
        raise TypeError(f"a run is measured by a HeldOutEvaluator, got {type(evaluator).__name__}")
    return evaluator


def restore(made: Run, *, folder: Path) -> int:
    """Load the newest whole checkpoint; returns the round to play next, 0 if none was made.

    Raises `CheckpointError` where every checkpoint is damaged: to train it all again would be
    worse than to ask.
    """
    found = checkpoint.latest(folder)
    if found is None:
        damaged = checkpoint.checkpoints_folder(folder)
        if any(damaged.glob("round_*")):
            raise checkpoint.CheckpointError(
                f"no checkpoint in {damaged} is whole; restore one from a copy, or delete the "
                f"folder: `dyna resume {folder}` then learns again from the real episodes it kept"
            )
        return 0
    done = checkpoint.restore(found, parts=made.parts)
    _share(made)
    return done + 1


def _share(made: Run) -> None:
    """Give the weights to all engines, which forget what they have read.

    Between rounds too: after a resume they have read nothing, and the last bits of a log-prob
    depend on how a transcript was read.
    """
    made.loop.crew.share_policy()
    made.loop.crew.share_model()


def _play(
    config: RunConfig, made: Run, *, folder: Path, first_round: int, progress: Progress
) -> None:
    tracker = Tracker(folder, tensorboard=config.tracking.tensorboard)
    progress.begin_round(first_round)
    try:
        last = made.loop.stream.last_round
        for round, metrics in made.loop.run(first_round=first_round, last_round=last):
            crew = made.loop.crew
            tracker.log(round, metrics | (crew.metrics() if isinstance(crew, HasMetrics) else {}))
            write_trips(made.loop, folder=folder)
            progress.begin_checkpoint()
            _save(config, made, folder=folder, round=round)
            _share(made)
            progress.end_round(_line(round, metrics=metrics))
            progress.begin_round(round + 1)
    finally:
        tracker.close()


def _save(config: RunConfig, made: Run, *, folder: Path, round: int) -> None:
    every = config.tracking.checkpoint_every
    if round == made.loop.stream.last_round or (every and round % every == 0):
        checkpoint.save(folder, round=round, parts=made.parts)
        checkpoint.prune(folder, keep=config.tracking.keep_checkpoints)


def _line(round: int, *, metrics: Metrics) -> str:
    """The round in one line; imagined success never without the real one."""
    parts = [f"round {round}:"]
    if "eval/real_success" in metrics:
        parts.append(f"real success {metrics['eval/real_success']:.3f}")
        if "eval/imagined_success" in metrics:
            parts.append(f"(imagined {metrics['eval/imagined_success']:.3f})")
    if not math.isnan(metrics.get("model/em", math.nan)):
        parts.append(f"model exact {metrics['model/em']:.3f}")
    parts.append(f"after {metrics['ledger/real_steps']:.0f} real steps")
    parts.append(f"and {metrics['ledger/imagined_steps']:.0f} imagined")
    return " ".join(parts)


def _write_episodes(made: Run, *, folder: Path) -> None:
    evaluator = _evaluator(made)
    if not evaluator.real:  # a finished run was resumed: there is nothing new to show
        return
    pairs = viewer_pairs(evaluator.real, imagined=evaluator.imagined, replayed=evaluator.replayed)
    write_json(folder / "episodes.json", value=pairs[:_NUM_SHOWN])


__all__ = ["Interrupted", "evaluate", "opened", "restore", "run"]
