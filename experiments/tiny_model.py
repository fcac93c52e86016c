"""`python -m experiments.tiny_model WORLD|CONFIG [key=value ...] --out FOLDER`.

Plays the demonstrations and explorations of the config, in its train split, and writes a model in
the words of that world. The episodes are real ones: a run that starts from the folder has spent
them too, and says so itself only if it makes its model by itself (`model: {path: tiny}`).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from dyna.configuring import load
from dyna.plugins import check_config
from experiments.cli import find_config
from experiments.studies.beginnings import compare
from experiments.tiny.making import describe, make_tiny_model, play_opening


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", help="a shipped config, such as textworld, or a file")
    parser.add_argument("settings", nargs="*", metavar="key=value")
    parser.add_argument("--out", type=Path, help="the folder to write; must not exist")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="JSON",
        help="train the same world model from each way to begin, and write how it does",
    )
    arguments = parser.parse_intermixed_args()
    if arguments.out is None and arguments.compare is None:
        parser.error("say --out FOLDER, --compare JSON, or both")
    if arguments.out is not None and arguments.out.exists():
        parser.error(f"{arguments.out} exists; name another folder, or remove it")
    config = load(find_config(arguments.config), overrides=arguments.settings)
    check_config(config)
    console = Console(soft_wrap=True)
    with console.status("playing"):
        episodes, seconds = play_opening(config)
    if arguments.out is not None:
        record = make_tiny_model(episodes, folder=arguments.out, config=config, seconds=seconds)
        console.print(describe(record))
        console.print(
            f"a run from it: model.path={arguments.out} for policy and world_model; add "
            f"{record['real_steps']:,} real steps to what its ledger says"
        )
    if arguments.compare is not None:
        compare(episodes, config=config, path=arguments.compare, console=console)


if __name__ == "__main__":
    main()
