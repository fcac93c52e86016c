"""`dyna worlds`, `dyna worlds play`, `dyna worlds check`, and `dyna serve`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from experiments.usage import DONE, FAILED, UsageError, wide_console

_MORE = (
    "Any other world: `package.module:Name`.",
    "Play: dyna worlds play WORLD key=value. Check: dyna worlds check WORLD key=value --expert.",
)


def add_commands(commands: Any) -> None:
    """Add them to the subparsers of `dyna`."""
    text = "List the worlds and what each needs; play in one; check one."
    sub: argparse.ArgumentParser = commands.add_parser("worlds", help=text, description=text)
    sub.set_defaults(command=_list)
    actions = sub.add_subparsers(metavar="ACTION")
    text = "Play in the terminal: ? lists commands, ! asks the expert, quit ends."
    play = actions.add_parser("play", help=text, description=text)
    play.set_defaults(command=_play)
    play.add_argument("--task", type=int, default=0, help="which task of the split, from 0 on")
    play.add_argument("--split", default="train")
    text = "Run the contract kit on a world; with --expert, its expert on every task."
    check = actions.add_parser("check", help=text, description=text)
    check.set_defaults(command=_check)
    check.add_argument("--split", default="", help="only this split; by default all that it names")
    check.add_argument("--expert", action="store_true", help="play the expert on every task")
    check.add_argument(
        "--tasks", type=int, default=0, help="tasks of each split; 0: all, or 100 of endless ones"
    )
    check.add_argument("--max-turns", type=int, default=1000, help="turns of the expert at most")
    check.add_argument("--workers", type=int, default=0, help="processes; 0 plays in this one")
    for one in (play, check):
        one.add_argument("world", help="an alias (see `dyna worlds`) or package.module:Name")
        one.add_argument(
            "settings", nargs="*", metavar="key=value", help="parameters of the world: data=PATH"
        )
    from experiments import serve

    text = "Serve a world, or a run's world model, to other trainers over OpenEnv."
    server: argparse.ArgumentParser = commands.add_parser("serve", help=text, description=text)
    serve.add_arguments(server)
    server.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> int:
    from experiments.serve import run_command

    return run_command(options)


def _list(_: argparse.Namespace) -> int:
    from experiments.worlds import notes_on_worlds, worlds_table

    console = wide_console()
    console.print(worlds_table())
    for note in ("", *notes_on_worlds(), "", *_MORE):
        console.print(note, markup=False, highlight=False)
    return DONE


def _play(options: argparse.Namespace) -> int:
    from experiments.worlds import opened_world, play, world_config

    if options.task < 0:
        raise UsageError(f"--task must be >= 0, got {options.task}")
    with opened_world(world_config(options.world, settings=options.settings)) as world:
        play(world, split=options.split, index=options.task, console=wide_console())
    return DONE


def _check(options: argparse.Namespace) -> int:
    from experiments.world_checks import check_contract, check_expert
    from experiments.worlds import world_config

    for name in ("tasks", "workers"):
        if getattr(options, name) < 0:
            raise UsageError(f"--{name} must be >= 0, got {getattr(options, name)}")
    if options.max_turns < 1:
        raise UsageError(f"--max-turns must be >= 1, got {options.max_turns}")
    console = wide_console()
    config = replace(
        world_config(options.world, settings=options.settings), max_turns=options.max_turns
    )
    passed = check_contract(config, split=options.split, console=console)
    if options.expert:
        passed &= check_expert(
            config,
            split=options.split,
            num_tasks=options.tasks,
            num_workers=options.workers,
            console=console,
        )
    return DONE if passed else FAILED


__all__ = ["add_commands"]
