"""What the simulator's sentences mean, and the same sentences with their lists in a fixed order.

Nothing here needs Java.
"""

from __future__ import annotations

import re

MAX_COMMAND = 400
"""Characters of the longest command that reaches the simulator; its own longest has about 200."""
UNKNOWN = "No known action matches that input."
AMBIGUOUS = "Ambiguous request:"

_NOT_UNDERSTOOD = (UNKNOWN, "Unknown action.", "ERROR:", "<ERROR", "<unknown catch>")
_REFUSALS = (
    AMBIGUOUS,
    "I'm not sure",
    "It's not clear",
    "Its not clear",
    "You can't ",
    "That can't ",
    "That object does",
    "That object already",
    "That is already",
    "Something can't be",
    "You must disconnect",
    "The door doesn't appear to go",
)
_STATE_REFUSAL = re.compile(
    r"The [^.]* (?:is already (?:open|closed|activated|deactivated)"
    r"|appears broken, and can't be|aren't able to move|does not contain any"
    r"|is empty, so|can't be poured|isn't open, so"
    r"|is not (?:open|openable|closeable|moveable|movable|edible|a container|something that can))"
)
_LISTED = re.compile(r"(?<=\()(containing (?:nothing else than )?)([^()]*)(?=\))")
_TRAILING = re.compile(r"((?:In|On|Inside) the [\w' -]+ is: )(.+?)(\.?[ \t]*)$", re.MULTILINE)


def was_carried_out(answer: str) -> bool | None:
    """False for what was not understood; None for a question back, and for a refusal of something
    understood, on which the simulator spends a turn as on any other action."""
    if not answer or answer.startswith(_NOT_UNDERSTOOD):
        return False
    if answer.startswith(_REFUSALS) or _STATE_REFUSAL.match(answer):
        return None
    return True


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
