"""`dyna collect` and `dyna export`: real episodes and trained models, gathered and passed on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from dyna.plugins import check_name
from experiments.usage import DONE, UsageError, wide_console

if TYPE_CHECKING:
    from experiments.collecting.config import CollectConfig

MESSAGES = (".json", ".jsonl")


def add_commands(commands: Any) -> None:
    """Add them to the subparsers of `dyna`."""
    text = "Gather real episodes of many behaviors into Parquet files; continues where it stopped."
    sub: argparse.ArgumentParser = commands.add_parser("collect", help=text, description=text)
    sub.set_defaults(command=_collect)
    sub.add_argument("--out", type=Path, help="the folder; by default collections/NAME")
    sub.add_argument(
        "--dry-run", action="store_true", help="print the resolved config, with what each key means"
    )
    _add_skip_damaged(sub, what="put them aside and play their episodes again")
    sub.add_argument(
        "settings",
        nargs="*",
        metavar="CONFIG.yaml | WORLD | key=value",
        help="a file or the name of a world, then changes, such as shares.expert=0.5",
    )
    text = "Write episodes in another form (Parquet, or messages), or what a run has trained."
    sub = commands.add_parser("export", help=text, description=text)
    sub.set_defaults(command=_export)
    sub.add_argument(
        "source",
        help="a folder of `dyna collect`, or a .parquet, .json, .jsonl file; of models: a run",
    )
    sub.add_argument("target", help="a .json, .jsonl or .parquet file; of models: a new folder")
    sub.add_argument(
        "--model",
        choices=("policy", "world_model"),
        help="write this model of a run's newest checkpoint, as transformers and vLLM load it",
    )
    sub.add_argument("--world", default="imported", help="of messages: the world they tell of")
    sub.add_argument("--split", default="", help="only this split; of messages: the split they are")
    sub.add_argument(
        "--no-hidden-state",
        action="store_true",
        help="leave the world's hidden state out of messages",
    )
    _add_skip_damaged(sub, what="leave them out")


def _add_skip_damaged(sub: argparse.ArgumentParser, *, what: str) -> None:
    sub.add_argument(
        "--skip-damaged",
        action="store_true",
        help=f"where parts of a collection are damaged: {what}, each named in the log",
    )


def _collect(options: argparse.Namespace) -> int:
    config = read_collect(options.settings)
    if options.dry_run:
        from dyna.configuring import describe

        Console(soft_wrap=True).print(describe(config), markup=False, highlight=False, end="")
        return DONE
    from experiments.collect import collect
    from experiments.collecting.folder import FolderError
    from experiments.collecting.schedule import ScheduleError

    folder: Path = options.out or Path("collections") / config.name
    console = wide_console()
    try:
        manifest = collect(
            config, folder=folder, skip_damaged=options.skip_damaged, console=console
        )
    except (FolderError, ScheduleError) as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt:
        Console(stderr=True, soft_wrap=True).print(
            f"stopped; the parts in {folder} are kept, and the same command continues"
        )
        raise
    console.print(f"collected: {manifest}", highlight=False)
    return DONE


def read_collect(settings: Sequence[str]) -> CollectConfig:
    """A file or a world, then changes. Raises `UsageError`, `ConfigError` and `PluginError`."""
    from experiments.collecting.config import load_collect

    named = [text for text in settings if "=" not in text]
    changes = [text for text in settings if "=" in text]
    if len(named) > 1:
        raise UsageError(f"one config or world at a time, got {', '.join(named)}")
    path: Path | None = None
    if named and Path(named[0]).suffix in (".yaml", ".yml"):
        path = Path(named[0])
        if not path.is_file():
            raise UsageError(f"there is no config {path}")
    elif named:
        check_name("environments", named[0])
        changes = [f"world.name={named[0]}", f"name={named[0].replace(':', '.')}", *changes]
    config = load_collect(path, overrides=changes)
    check_name("environments", config.world.name)
    for name in config.shares:
        if name != "policy":
            check_name("policies", name)
    return config


def _export(options: argparse.Namespace) -> int:
    from dyna.replay.messages import read_messages, write_messages
    from dyna.replay.parquet import iter_trajectories, write_trajectories
    from experiments.collecting.folder import FolderError, collected

    source, target = Path(options.source), Path(options.target)
    if not source.exists():
        raise UsageError(f"there is nothing at {source}")
    if options.model:
        return _export_model(source, role=options.model, target=target)
    if target.suffix not in (*MESSAGES, ".parquet"):
        raise UsageError(f"the target must end in .json, .jsonl or .parquet, got {target}")
    try:
        if source.suffix in MESSAGES:
            split = options.split or "train"
            episodes = read_messages(source, world=options.world, split=split)
        else:
            found = (
                collected(source, skip_damaged=options.skip_damaged)
                if source.is_dir()
                else iter_trajectories(source)
            )
            episodes = (t for t in found if options.split in ("", t.task.split))
        told, counts = _counted(episodes, only_sound=target.suffix in MESSAGES)
        if target.suffix in MESSAGES:
            write_messages(target, told, hidden_state=not options.no_hidden_state)
        else:
            write_trajectories(target, told)
    except (FolderError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error
    left_out = f", {counts['failed']} failed ones left out" if counts["failed"] else ""
    Console(soft_wrap=True).print(f"exported {counts['written']} episodes to {target}{left_out}")
    return DONE


def _export_model(run: Path, *, role: str, target: Path) -> int:
    from experiments.exporting import export_model

    if not (run / "config.yaml").is_file():
        raise UsageError(f"{run} is no folder of a run: it has no config.yaml")
    told = export_model(run, role=role, target=target)
    Console(soft_wrap=True).print(f"exported {told} to {target}")
    return DONE


def _counted(episodes: Any, *, only_sound: bool) -> tuple[Any, dict[str, int]]:
    """The episodes to write, one by one, and what is counted while they pass."""
    counts = {"written": 0, "failed": 0}

    def pass_on() -> Any:
        for trajectory in episodes:
            if only_sound and trajectory.stop.is_failure:
                counts["failed"] += 1
                continue
            counts["written"] += 1
            yield trajectory

    return pass_on(), counts


__all__ = ["add_commands", "read_collect"]
