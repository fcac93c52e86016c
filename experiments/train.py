"""Trains one run on the Ray cluster that it lands on; the script given to `ray submit`.

    ray submit cluster.yaml experiments/train.py household runtime.num_env_runners=8
    ray job submit --working-dir . -- python -m experiments.train household ...

It is `dyna train` with three other defaults: `runtime.address=auto` and `runtime.backend=rllib`,
for a cluster is there, and a relative `output` counts from the home folder, for a job's current
folder is deleted after it. `ray submit` copies this file alone into the head node's home, so it
imports nothing beside it and says what is missing there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

_REFUSED = 2
_NOT_INSTALLED = """error: dyna-agents is not installed for {python}: there is no package `dyna`
error: install the checkout on every node: {python} -m pip install -c constraints.txt .
error: (experiments/clusters/*.yaml do it in their setup_commands)"""
_FOREIGN = """error: the package `dyna` at {place} is not dyna-agents, and Python finds it first
error: rename that folder, or take it off PYTHONPATH; no checkout may be in a folder named `dyna`"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as `dyna train` does, on the running cluster; returns the exit status."""
    settings = list(sys.argv[1:] if arguments is None else arguments)
    if "-h" in settings or "--help" in settings:
        sys.stdout.write(f"{__doc__}\n`dyna train --help` explains the arguments.\n")
        return 0
    _leave_own_folder()
    try:
        from dyna.siblings import SiblingError, check_siblings
    except ModuleNotFoundError as error:
        if error.name not in ("dyna", "dyna.siblings"):
            raise
        sys.stderr.write(_missing() + "\n")
        return _REFUSED
    try:
        # Ray's workers look into the folder where the run was started before anywhere else.
        check_siblings(workers_look_in=Path.cwd())
    except SiblingError as error:
        sys.stderr.write(f"error: {error}\n")
        return _REFUSED
    # After the check: a foreign `experiments` must not be imported before it is named.
    from experiments.cli import main as dyna

    return dyna(["train", *on_cluster(settings, home=Path.home())])


def on_cluster(settings: Sequence[str], *, home: Path) -> list[str]:
    """`settings` and the defaults of a cluster, where they do not say otherwise."""
    from dyna.configuring import ConfigError, load
    from experiments.usage import UsageError, find_config

    added = [
        default
        for default in ("runtime.address=auto", "runtime.backend=rllib")
        if not any(text.startswith(default.partition("=")[0] + "=") for text in settings)
    ]
    named = [text for text in settings if "=" not in text and not text.startswith("-")]
    try:
        config = load(
            find_config(named[0]) if named else None,
            overrides=[text for text in settings if "=" in text and not text.startswith("-")],
        )
    except (ConfigError, UsageError):
        return [*settings, *added]  # which `dyna train` then tells
    if not Path(config.output).expanduser().is_absolute():
        added.append(f"output={home / config.output}")
    return [*settings, *added]


def _leave_own_folder() -> None:
    """Forget the folder of this file, which Python searches first where a script is run."""
    here = Path(__file__).resolve().parent
    if __spec__ is None and sys.path and Path(sys.path[0] or ".").resolve() == here:
        del sys.path[0]


def _missing() -> str:
    found = sys.modules.get("dyna")
    if found is None:
        return _NOT_INSTALLED.format(python=sys.executable)
    return _FOREIGN.format(place=", ".join(found.__path__))


if __name__ == "__main__":
    sys.exit(main())
