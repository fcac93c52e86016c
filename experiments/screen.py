"""The log on the screen: readable beside progress bars, and never a flood.

What recurs is said the 1st, the 10th, the 100th time; sentences that differ in numbers alone are
the same. `dyna --verbose` says everything.
"""

from __future__ import annotations

import logging
import re
import sys
from collections import Counter
from typing import TextIO

_NUMBER = re.compile(r"\b\d+(\.\d+)?\b")


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is now: bars on a terminal put themselves in between."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class Rarely(logging.Filter):
    """Lets a sentence through the 1st, 10th, 100th, ... time, with its count."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: Counter[tuple[str, str]] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        key = (record.name, _NUMBER.sub("#", said))
        self._counts[key] += 1
        count = self._counts[key]
        if count > 1:
            record.msg, record.args = f"{said} (said {count} times by now)", ()
        return str(count).rstrip("0") == "1"


def log_to_screen(*, verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    handler = StderrHandler()
    # Of the handler too: a library may give its own logger a level below that of the root.
    handler.setLevel(level)
    if not verbose:
        handler.addFilter(Rarely())
    logging.basicConfig(
        level=level,
        format="%(levelname)s %(name)s: %(message)s",
        handlers=[handler],
    )
