"""`dyna rollback`: an earlier world model of a run made live again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.usage import DONE, UsageError


def add_commands(commands: Any) -> None:
    """Add it to the subparsers of `dyna`."""
    text = "Make an earlier world model of a run live again; all else goes on as it is."
    sub: argparse.ArgumentParser = commands.add_parser("rollback", help=text, description=text)
    sub.set_defaults(command=_rollback)
    sub.add_argument("run", type=Path, help="the folder of a run that is not running")
    sub.add_argument(
        "--to",
        type=int,
        metavar="ROUND",
        help="the round whose model it is; by default that of the model live before the newest",
    )


def _rollback(options: argparse.Namespace) -> int:
    from experiments.rollback import RollbackError, rollback

    run: Path = options.run
    if not (run / "config.yaml").is_file():
        raise UsageError(f"{run} is not the folder of a run: it has no config.yaml")
    try:
        done = rollback(run, to=options.to)
    except RollbackError as error:
        raise UsageError(str(error)) from error
    Console(soft_wrap=True).print(
        f"round {done.round} has the world model of round {done.to} again, as version "
        f"{done.version}. Continue with: dyna resume {run}",
        highlight=False,
    )
    return DONE
