"""The `dyna` command: everything a user does with a run, from its plan to its report.

A mistake in a name, key or value is refused before anything starts, in one sentence and with exit
status 2; so is a file that is missing or damaged. A run that is told to stop keeps its state and
exits with 143 (SIGTERM) or 130 (SIGINT); one that cannot go on exits with 1.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dyna.config import RunConfig
from dyna.configuring import ConfigError, describe, load, load_saved, save
from dyna.envs.extras import MissingExtraError
from dyna.files import DamagedFileError
from dyna.plugins import KINDS, PluginError, check_config, list_plugins
from dyna.protocols import EngineLostError
from dyna.rllib.failures import LostLearnerError, LostRunnersError
from dyna.rollout import BrokenDreamError, BrokenPolicyError
from dyna.siblings import SiblingError, check_siblings
from experiments.commands import data, runs, worlds
from experiments.screen import log_to_screen
from experiments.usage import (
    DONE,
    FAILED,
    INTERRUPTED,
    MISTAKE,
    UsageError,
    find_config,
    shipped_configs,
    wide_console,
)

_log = logging.getLogger(__name__)

DEFAULT_CONFIG = "household"
CONFIG_FILE = "config.yaml"

Command = Callable[[argparse.Namespace], int]

_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # several spinning threads on few cores are slower than one
    "TOKENIZERS_PARALLELISM": "false",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # makes Ray listen on loopback only
}


_MISTAKES = (
    ConfigError,
    DamagedFileError,
    MissingExtraError,
    PluginError,
    SiblingError,
    UsageError,
)
"""What the user can mend: told in one sentence, with exit status 2."""


_FAULTS = (
    BrokenDreamError,
    BrokenPolicyError,
    EngineLostError,
    LostLearnerError,
    LostRunnersError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status of the process."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    settings: list[str] = [*getattr(options, "settings", []), *rest]
    if any(text.startswith("-") for text in rest) or (rest and "settings" not in options):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.settings = settings
    log_to_screen(verbose=options.verbose)
    command: Command = options.command
    try:
        return command(options)
    except _MISTAKES as error:
        _log.info("what led to it", exc_info=error)
        for line in str(error).splitlines():
            Console(stderr=True, soft_wrap=True).print(f"[bold red]error:[/] {escape(line)}")
        return MISTAKE
    except (ValueError, OSError, *_FAULTS) as error:
        # A disk, a machine or a part that fails; each error says which, and what to do.
        _log.info("what led to it", exc_info=error)
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]error:[/] {escape(str(error))} (dyna --verbose shows where)"
        )
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dyna", description="Train language-model agents the Dyna way."
    )
    parser.add_argument("--verbose", action="store_true", help="log what happens inside")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, *, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    train = add("train", _train, text="Train an agent and a world model; ends with a report.")
    train.add_argument(
        "--dry-run", action="store_true", help="print the plan, its memory and its time, no more"
    )
    train.add_argument("--run", type=Path, help="the folder of the run; by default a new one")
    for name in ("resume", "evaluate", "report"):
        text, command = _RUN_COMMANDS[name]
        add(name, command, text=text).add_argument("run", type=Path, help="the folder of a run")
    config = add("config", _config, text="Print the resolved config, with what each field means.")
    for sub in (train, config):
        sub.add_argument(
            "settings",
            nargs="*",
            metavar="CONFIG.yaml | key=value",
            help=f"a file or a shipped config ({', '.join(shipped_configs())}), then changes",
        )
    data.add_commands(commands)
    worlds.add_commands(commands)
    runs.add_commands(commands)
    add("plugins", _plugins, text="List what can be named in a config, and where it comes from.")
    return parser


def _train(options: argparse.Namespace) -> int:
    check_siblings()
    config = _read_settings(options.settings)
    check_config(config)
    if options.dry_run:
        from experiments.plan import print_plan

        print_plan(config, console=wide_console())
        return DONE
    folder: Path = options.run or _new_folder(config)
    if (folder / CONFIG_FILE).exists():
        raise UsageError(f"{folder} holds a run already; `dyna resume {folder}` continues it")
    try:
        save(config, path=folder / CONFIG_FILE)
    except OSError as error:
        raise UsageError(f"cannot write the run into {folder}: {error}") from None
    return _run(config, folder=folder, resume=False)


def _resume(options: argparse.Namespace) -> int:
    check_siblings()
    config = _config_of(options.run)
    check_config(config)
    return _run(config, folder=options.run, resume=True)


def _run(config: RunConfig, *, folder: Path, resume: bool) -> int:
    from experiments.run import run
    from experiments.watch import Interrupted

    try:
        report = run(config, folder=folder, resume=resume)
    except Interrupted as stopped:
        Console(stderr=True, soft_wrap=True).print(
            f"{stopped}; what was done is kept. Continue with: dyna resume {folder}"
        )
        return 128 + stopped.signum
    Console(soft_wrap=True).print(f"report: {report}")
    return DONE


def _evaluate(options: argparse.Namespace) -> int:
    check_siblings()
    check_config(_config_of(options.run))
    from experiments.run import evaluate

    Console(soft_wrap=True).print(f"evaluation: {evaluate(options.run)}")
    return DONE


def _report(options: argparse.Namespace) -> int:
    _config_of(options.run)
    from experiments.report import build_report

    Console(soft_wrap=True).print(f"report: {build_report(options.run)}")
    return DONE


def _config(options: argparse.Namespace) -> int:
    sys.stdout.write(describe(_read_settings(options.settings)))
    return DONE


def _plugins(_: argparse.Namespace) -> int:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("kind", "name", "stands for", "from"):
        table.add_column(column, no_wrap=True)
    for plugin in list_plugins():
        table.add_row(plugin.kind, plugin.name, plugin.target, plugin.origin)
    console = wide_console()
    console.print(table)
    console.print(
        "\nAny other part: `package.module:Name`. Published names: entry points of"
        f" {', '.join(f'dyna.{kind}' for kind in KINDS)}."
    )
    return DONE


def _read_settings(settings: Sequence[str]) -> RunConfig:
    named = [text for text in settings if "=" not in text]
    if len(named) > 1:
        raise UsageError(f"one config at a time, got {', '.join(named)}")
    changes = [text for text in settings if "=" in text]
    return load(find_config(named[0] if named else DEFAULT_CONFIG), overrides=changes)


def _config_of(folder: Path) -> RunConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise UsageError(f"{folder} is not the folder of a run: it has no {CONFIG_FILE}")
    return load_saved(path)


def _new_folder(config: RunConfig) -> Path:
    """`runs/NAME-001`, `-002`, ...: the first that can be made; two runs never share one."""
    number = 1
    while True:
        folder = Path(config.output) / f"{config.name}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise UsageError(f"cannot make the folder {folder}: {error}") from None
        else:
            return folder


_RUN_COMMANDS: dict[str, tuple[str, Command]] = {
    "resume": ("Continue a run that was stopped.", _resume),
    "evaluate": ("Measure the agent and the world model of a run.", _evaluate),
    "report": ("Write the report of a run again.", _report),
}


if __name__ == "__main__":
    sys.exit(main())
