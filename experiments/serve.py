"""`dyna serve`: a world, or the world model of a finished run, for other trainers over OpenEnv.

    dyna serve household admissible=true --port 8000
    dyna serve --run runs/household-001

The second serves dreams: the real world gives each episode its start and nothing more.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from rich.console import Console

from dyna import checkpoint
from dyna.config import Backend, Isolation, RunConfig
from dyna.configuring import load, load_saved
from dyna.crew import LocalCrew
from dyna.envs.imagined import ImaginedWorld
from dyna.envs.isolation import isolate
from dyna.envs.openenv import Serving, serve
from dyna.plugins import PluginError, build, check_name
from dyna.protocols import Closeable, World

_log = logging.getLogger(__name__)
_OPTIONS = ("split", "num_tasks", "max_sessions", "step_timeout_s", "hidden_state")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command; `run_command` reads them."""
    parser.add_argument(
        "settings", nargs="*", metavar="WORLD | key=value", help="a world, then its parameters"
    )
    parser.add_argument("--run", type=Path, help="serve the world model of this run's folder")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one")
    parser.add_argument("--split", default="train", help="played by a reset that names none")
    parser.add_argument("--num-tasks", type=int, default=1000, help="of each split, at most")
    parser.add_argument("--max-sessions", type=int, default=64, help="at once")
    parser.add_argument("--step-timeout-s", type=float, default=60.0, help="of a reset or step")
    parser.add_argument(
        "--hidden-state", action="store_true", help="send the world's privileged state too"
    )
    parser.add_argument(
        "--isolation",
        default=Isolation.THREAD.value,
        choices=[way.value for way in Isolation],
        help="where a world is played",
    )
    parser.add_argument("--horizon", type=int, help="turns of a dream; by default the run's")


def run_command(options: argparse.Namespace) -> int:
    """Serve until told to stop. Raises `ValueError` (or one of its kinds) for what cannot be
    served, and `OSError` for a port that cannot be had."""
    named = [text for text in options.settings if "=" not in text]
    if (options.run is None) != (len(named) == 1) or (options.run and options.settings):
        raise PluginError("name one world, with its parameters as key=value; or give --run RUN")
    console = Console(soft_wrap=True)
    opened = (
        _dreams(options.run, options=options) if options.run else _world(named[0], options=options)
    )
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        with opened as serving:
            serve(
                serving,
                host=options.host,
                port=options.port,
                on_ready=lambda url: console.print(
                    f"serving {serving.name} ({serving.source.value}) at {url}"
                ),
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    return 0


@contextmanager
def _world(name: str, *, options: argparse.Namespace) -> Iterator[Serving]:
    """A real world by its name and parameters."""
    check_name("environments", name)
    given = [text for text in options.settings if "=" in text]
    overrides = [f"world.name={name}", f"world.isolation={options.isolation}"]
    config = load(overrides=[*overrides, *(f"world.params.{text}" for text in given)]).world
    world: World = build("environments", config)
    source = isolate(world, config=config)
    try:
        arguments = {key: getattr(options, key) for key in _OPTIONS}
        arguments["max_sessions"] = source.concurrency(options.max_sessions)
        yield Serving(world, name=name, make=source.make, **arguments)
    finally:
        source.close()
        if isinstance(world, Closeable):
            world.close()


@contextmanager
def _dreams(folder: Path, *, options: argparse.Namespace) -> Iterator[Serving]:
    """The live world model of a run's newest checkpoint, as a world."""
    from experiments.run import opened

    path = folder / "config.yaml"
    if not path.is_file():
        raise PluginError(f"{folder} is not the folder of a run: it has no config.yaml")
    config = _local(load_saved(path))
    newest = checkpoint.latest(folder)
    if newest is None:
        raise checkpoint.CheckpointError(
            f"{folder} has no whole checkpoint yet; `dyna resume {folder}` continues the run"
        )
    with opened(config, folder=folder) as (made, _):
        done = checkpoint.restore(newest, parts=made.parts)
        crew = made.loop.crew
        if not isinstance(crew, LocalCrew):
            raise TypeError(f"a model is served from this process, got {type(crew).__name__}")
        crew.share_model()
        source = isolate(crew.world, config=config.world)
        dreaming = config.imagination
        horizon = dreaming.horizon if options.horizon is None else options.horizon
        world = ImaginedWorld(
            crew.world,
            model=crew.model,
            horizon=horizon,
            min_confidence=dreaming.min_confidence,
            min_win_confidence=dreaming.min_win_confidence,
            make_real=source.make,
        )
        _log.info("the world model of round %d, dreams of up to %d turns", done, horizon)
        try:
            arguments = {key: getattr(options, key) for key in _OPTIONS}
            arguments["max_sessions"] = source.concurrency(options.max_sessions)
            yield Serving(world, name=config.world.name, **arguments)
        finally:
            source.close()


def _local(config: RunConfig) -> RunConfig:
    """A run of RLlib's actors too is served from this process."""
    return replace(config, runtime=replace(config.runtime, backend=Backend.LOCAL))


def _leave(signum: int, _: FrameType | None) -> None:
    """So that worlds are closed: by default SIGTERM ends the process on the spot."""
    raise SystemExit(128 + signum)


def main(arguments: Sequence[str] | None = None) -> int:
    """`python -m experiments.serve ...`, the same as `dyna serve ...`."""
    parser = argparse.ArgumentParser(prog="dyna serve", description=__doc__)
    add_arguments(parser)
    return run_command(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
