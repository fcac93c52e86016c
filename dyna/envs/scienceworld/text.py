"""What the simulator's sentences mean, and the same sentences with their lists in a fixed order.

Nothing here needs Java.
"""

from __future__ import annotations

import re

MAX_COMMAND = 400
"""Characters of the longest command that reaches the simulator; its own longest has about 200."""
UNKNOWN = "No known action matches that input."
AMBIGUOUS = "Ambiguous request:"

_REFUSALS = (
    UNKNOWN,
    AMBIGUOUS,
    "Unknown action.",
    "I'm not sure",
    "It's not clear",
    "Its not clear",
    "You can't ",
    "That can't ",
    "Something can't be connected to itself",
    "That is already flushing",
    "<unknown catch>",
    "<ERROR",
    "ERROR:",
)
_STATE_REFUSAL = re.compile(
    r"The .* (?:is already (?:open|closed|activated|deactivated)"
    r"|is not (?:activatable|a container|in a container|edible|moveable|something)"
    r"|can't be (?:activated|deactivated|opened|closed)"
    r"|appears broken, and can't|isn't |is not )",
)
_LISTED = re.compile(r"(?<=\()(containing (?:nothing else than )?)([^()]*)(?=\))")
_TRAILING = re.compile(r"((?:In|On|Inside) the [\w' -]+ is: )(.+?)(\.?[ \t]*)$", re.MULTILINE)


def was_carried_out(answer: str) -> bool:
    """Whether a command was understood and done, as far as the answer tells."""
    return not (answer.startswith(_REFUSALS) or _STATE_REFUSAL.match(answer))


def prepare(command: str) -> str | None:
    """The command as it may reach the simulator; None for one that must not: too long, or no text.

    Half characters (lone surrogates) cannot be sent; control characters would end the message.
    """
    stripped = command.strip()
    if len(stripped) > MAX_COMMAND:
        return None
    if any(0xD800 <= ord(char) <= 0xDFFF or ord(char) == 0 for char in stripped):
        return None
    return " ".join(stripped.split())


def canonical(text: str) -> str:
    """`text` with the things of each list sorted: lines after a tab, contents in brackets and
    after `In the ... is:`. Numbered choices keep their order, which their numbers depend on."""
    lines: list[str] = []
    block: list[str] = []
    for line in [*(_sort_within(line) for line in text.split("\n")), ""]:
        if line.startswith("\t"):
            block.append(line)
            continue
        lines += sorted(block)
        block = []
        lines.append(line)
    return "\n".join(lines[:-1])


def _sort_within(line: str) -> str:
    line = _TRAILING.sub(lambda m: m[1] + _sorted(m[2]) + m[3], line)
    return _LISTED.sub(lambda m: m[1] + _sorted(m[2]), line)


def _sorted(listed: str) -> str:
    """The items of a list with commas in order; commas in brackets are the items' own."""
    items, depth, start = list[str](), 0, 0
    for i, char in enumerate(listed):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            items.append(listed[start:i].strip())
            start = i + 1
    return ", ".join(sorted([*items, listed[start:].strip()]))


__all__ = ["AMBIGUOUS", "MAX_COMMAND", "UNKNOWN", "canonical", "prepare", "was_carried_out"]
