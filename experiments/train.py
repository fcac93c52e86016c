"""The script given to `ray submit`: trains one run on the cluster whose head node it lands on.

    ray submit cluster.yaml experiments/train.py household runtime.backend=rllib

`ray submit` copies this file alone, so it stands alone: the four packages must be installed there
(the cluster files do it in their set-up commands), and they are checked before anything else.
"""

from __future__ import annotations

import sys

from dyna.siblings import check_siblings


def main() -> int:
    """Train as `dyna train` does, on the running cluster unless an address is given."""
    check_siblings()
    # After the check: a foreign `experiments` must not be imported before it is named.
    from experiments.cli import main as dyna

    settings = sys.argv[1:]
    if not any(text.startswith("runtime.address=") for text in settings):
        settings.append("runtime.address=auto")
    return dyna(["train", *settings])


if __name__ == "__main__":
    sys.exit(main())
