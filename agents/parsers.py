"""Action parsers: find the command in what a policy said. Total: any text gives a string.

A parser is `Callable[[str], str]`. What holds no command gives "", which a world answers like any
other command it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

Parser: TypeAlias = Callable[[str], str]

_ACTION = re.compile(r"^[ \t]*action[ \t]*:[ \t]*(.*)$", re.IGNORECASE | re.MULTILINE)


def parse_plain(text: str) -> str:
    """The first line that is not blank, stripped. Example: "\\n look \\nok" gives "look"."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def parse_react(text: str) -> str:
    """The last `Action:` line of a ReAct answer (Yao et al., arXiv 2210.03629), stripped.

    Example: "Thought: the mug is dirty.\\nAction: go to sink 1" gives "go to sink 1".
    """
    found = _ACTION.findall(text)
    return found[-1].strip() if found else ""


def parse_toolbench(text: str) -> str:
    """All from the last `Action:` on, the lines of its `Action Input:` too, stripped.

    ToolBench writes a call on two lines (Qin et al., arXiv 2307.16789). Example:
    "Thought: ask.\\nAction: find\\nAction Input: {}" gives "Action: find\\nAction Input: {}".
    """
    found = list(_ACTION.finditer(text))
    return text[found[-1].start() :].strip() if found else ""
