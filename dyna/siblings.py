"""The guard of our four top-level names: refuse to run when one of them is not ours.

`agents` is also the top-level package of another well-known distribution. When two installations
share a folder, the later one wins file by file, and Python says nothing. So the command line, the
training script and every Ray worker ask here first.
"""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "dyna-agents"
SIBLINGS = ("dyna", "agents", "worldmodels", "experiments")


class SiblingError(ImportError):
    """One of our names leads to somebody else's code."""


def check_siblings(*, workers_look_in: Path | None = None) -> None:
    """Raise `SiblingError`, naming the culprit, unless all four packages are ours.

    Two things are checked, because each misses what the other sees: that the four come from one
    folder (a foreign or shadowing package, a folder without `__init__.py`), and that no other
    installed distribution claims one of the names (files of both mixed in one folder). With
    `workers_look_in`, the folder that Ray's workers search before all others, it must not hold a
    package of these names either.
    """
    home = Path(__file__).resolve().parent.parent
    owners = packages_distributions()
    for name in SIBLINGS:
        origin = _origin(name)
        foreign = sorted({owner for owner in owners.get(name, ()) if _other(owner)})
        if foreign:
            raise SiblingError(
                f"the package `{name}` is also installed by {', '.join(foreign)}, and the two"
                f" cannot share an environment: pip uninstall {' '.join(foreign)}, then reinstall"
                f" {DISTRIBUTION}; or run in a virtual environment of its own"
            )
        if origin is None:
            raise SiblingError(
                f"the package `{name}` was not found in {home}: it is missing there, or has lost"
                f" its __init__.py; reinstall {DISTRIBUTION}"
            )
        if origin != home / name / "__init__.py":
            raise SiblingError(
                f"the package `{name}` must come from {home}, but Python finds {origin} first:"
                " rename it, or take its folder off PYTHONPATH"
            )
        shadow = workers_look_in / name / "__init__.py" if workers_look_in else origin
        if shadow.is_file() and shadow.resolve() != origin:
            raise SiblingError(
                f"Ray's workers would take the package `{name}` from {shadow.parent}, in the folder"
                f" where the run is started: start it elsewhere, or rename that folder"
            )


def _origin(name: str) -> Path | None:
    """The file that `import name` runs; None for no package, or one without `__init__.py`."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded is not None else find_spec(name)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).resolve()


def _other(distribution: str) -> bool:
    return distribution.lower().replace("_", "-").replace(".", "-") != DISTRIBUTION
