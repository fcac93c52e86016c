"""What reaches the game, and what the agent reads of its answers.

The story file runs in an interpreter with commands of its own: it quits, saves, restores, prompts
for a file name and waits. No agent reaches those. What is printed is tidied in one fixed way, named
by `TEXT_VERSION`, so that recorded episodes and new ones read alike.
"""

from __future__ import annotations

import re

TEXT_VERSION = 1
"""Of the rules below; part of every task's identity."""

NOT_A_VERB = "That's not a verb I recognise."
NOT_UNDERSTOOD = "I didn't understand that sentence."
"""The game's own words for what it cannot read; they also answer what is never sent to it."""

MAX_COMMAND = 180
"""Characters; the interpreter cuts a line at 198 bytes, which could end within a word."""

_INTERPRETER_VERBS = frozenset(
    {
        "abstract",
        "actions",
        "again",
        "brief",
        "g",
        "gonear",
        "long",
        "normal",
        "noscript",
        "notify",
        "nouns",
        "o",
        "oops",
        "print",
        "pronouns",
        "purloin",
        "q",
        "quit",
        "random",
        "recording",
        "relations",
        "replay",
        "reset",
        "restart",
        "restore",
        "restrict",
        "rules",
        "save",
        "scope",
        "script",
        "short",
        "showme",
        "superbrief",
        "test",
        "trace",
        "transcript",
        "tree",
        "undo",
        "unscript",
        "verbose",
        "verify",
        "version",
    }
)
_SECOND_SENTENCE = re.compile(r"[.;,\"\[\]<>]|\bthen\b")
_HEADER = re.compile(r"^-= (.+) =-$", re.MULTILINE)
_UPPER_WINDOW = re.compile(r"\n?>?[ ]{8,}-= [^\n]* =-\d+/\d+\s*$")
_SUCCEEDED = re.compile(r"\[[^\]]+ - succeeded\]")
_PROMPT_OF_THE_END = "Would you like to RESTART, RESTORE a saved game, QUIT or UNDO"
_BANNER_INK = re.compile(r"[\\/|$]")


def screen(command: str) -> tuple[str, str]:
    """The command as it may be sent, and an answer to give instead; one of the two is empty.

    One sentence at a time: the parser would take "open door. go east" as two moves, while the
    list of admissible commands follows only the first.
    """
    words = command.strip()
    if not words:
        return "", "I beg your pardon?"
    if len(words) > MAX_COMMAND or not (words.isascii() and words.isprintable()):
        return "", NOT_UNDERSTOOD
    first = words.lower().split()[0]
    if first in _INTERPRETER_VERBS or first.startswith("tw-"):
        return "", NOT_A_VERB
    if _SECOND_SENTENCE.search(words.lower()):
        return "", NOT_UNDERSTOOD
    return words, ""


def tidy(feedback: str, *, banner: bool = True) -> str:
    """No blanks at line ends, no more than one empty line in a row, no question after the end.

    The interpreter's upper window, which gets into the text at some times and not at others, is
    taken out. Without `banner` the large letters that open a game are left out too.
    """
    text, _, _ = feedback.partition(_PROMPT_OF_THE_END)
    text = _UPPER_WINDOW.sub("", text)
    lines = [line.rstrip() for line in text.split("\n")]
    if not banner:
        lines = lines[_end_of_banner(lines) :]
    lines = [line.strip() if "***" in line else line for line in lines]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def was_carried_out(raw: str) -> bool:
    """Whether the game's trace, part of its raw output, tells of an action that succeeded."""
    return _SUCCEEDED.search(raw) is not None


def room_of(text: str) -> str:
    """The room whose header was printed last; empty if none was."""
    headers = _HEADER.findall(text)
    return headers[-1] if headers else ""


def status_line(room: str, *, score: int, turn: int) -> str:
    """As the interpreter's upper window has it. Example: `-= Kitchen =-4/9`."""
    return f"-= {room} =-{score}/{turn}"


def _end_of_banner(lines: list[str]) -> int:
    last = 0
    for number, line in enumerate(lines):
        if len(_BANNER_INK.findall(line)) >= 4 or set(line.strip()) == {"_", " "}:
            last = number + 1
    return last


__all__ = [
    "MAX_COMMAND",
    "NOT_A_VERB",
    "NOT_UNDERSTOOD",
    "TEXT_VERSION",
    "room_of",
    "screen",
    "status_line",
    "tidy",
    "was_carried_out",
]
