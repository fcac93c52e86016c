"""Official games before they are read: what is known of each, and where its problem lies.

Whatever holds the games (a folder, a pack), they are listed first, by split and id, and a problem
is read only when its game is played. Listing takes seconds, once: the list is kept in the cache,
under a name that changes with the data.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, cast

from dyna.envs.household.house import Family
from dyna.files import DamagedFileError, read_json, replacing

_log = logging.getLogger(__name__)

SPLITS = ("train", "valid_seen", "valid_unseen", "valid_train")
FAMILIES: Mapping[str, Family] = {
    "pick_and_place_simple": Family.PICK_AND_PLACE,
    "look_at_obj_in_light": Family.EXAMINE_IN_LIGHT,
    "pick_clean_then_place_in_recep": Family.CLEAN,
    "pick_heat_then_place_in_recep": Family.HEAT,
    "pick_cool_then_place_in_recep": Family.COOL,
    "pick_two_obj_and_place": Family.PICK_TWO,
}
"""ALFWorld's names of its kinds of task, which ids begin with."""

_BLANKS = b" \t\r\n\v\f"
_FORMAT = 1
"""Of the lists in the cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialGameInfo:
    """Example: `id="pick_and_place_simple-Mug-None-Desk-308/trial_T20190908_125200_737896"`."""

    id: str
    """The folders of the task and of the trial, as ALFWorld's own files have them."""
    split: str
    solvable: bool = True
    """ALFWorld's own flag: whether its scripted expert finished the game."""
    task: str = ""
    """The goal in words, without its full stop; empty where the data has none."""
    agentgym_train: int | None = None
    agentgym_test: int | None = None
    """Its number in AgentGym's lists, which the paper's splits are made of."""
    digest: str = ""
    """Of the problem, without its name and blanks."""
    begin: int = 0
    """Where the problem of a packed game lies in the cache: its first byte."""
    num_bytes: int = 0

    @property
    def family(self) -> Family:
        return FAMILIES[self.id.partition("-")[0]]

    @property
    def scene(self) -> str:
        """The floor plan, by number: the end of the task's folder."""
        return self.id.partition("/")[0].rpartition("-")[2]


class GameSource(Protocol):
    """A folder or a pack of games."""

    def splits(self) -> Sequence[str]:
        """Those that it has."""
        ...

    def games(self, split: str) -> Sequence[OfficialGameInfo]:
        """All games of a split, in any order, flagged ones too. May read every file, once."""
        ...

    def problem(self, game: OfficialGameInfo) -> str:
        """In PDDL. Raises `DamagedFileError` if the file has changed or is not whole."""
        ...

    def where(self, game: OfficialGameInfo) -> str:
        """The file, in words, for errors."""
        ...


def problem_digest(problem: str) -> str:
    """16 hexadecimal digits, equal for problems that differ in name and blanks only."""
    body = problem[max(0, problem.find("(:domain")) :]
    return blake2b(body.encode().translate(None, _BLANKS), digest_size=8).hexdigest()


def stated_task(grammar: str) -> str:
    """The task's words in the grammar of a game file, without their full stop; "" if none."""
    for quoted in re.findall(r'"rhs":\s*("Your task is to: (?:[^"\\]|\\.)*")', grammar):
        words = str(json.loads(quoted)).removeprefix("Your task is to: ").strip()
        return words.removesuffix(".")
    return ""


def read_object(text: str | bytes, *, where: str, remedy: str) -> dict[str, Any]:
    """A JSON object. Raises `DamagedFileError` for any other text."""
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{where} is not whole JSON ({error}); {remedy}") from error
    if not isinstance(value, dict):
        raise DamagedFileError(f"{where} is no JSON object; {remedy}")
    return cast("dict[str, Any]", value)


def check_id(game_id: str, *, where: str) -> None:
    """Raises `DamagedFileError` for an id that is not of the form `task/trial`."""
    task, slash, trial = game_id.partition("/")
    if not (slash and trial) or task.partition("-")[0] not in FAMILIES:
        raise DamagedFileError(
            f"{where}: id {game_id!r} is not TASK/TRIAL with one of ALFWorld's task types "
            f"{list(FAMILIES)}; restore the file from its source"
        )


def save_list(path: Path, *, games: Sequence[OfficialGameInfo]) -> None:
    rows = [asdict(game) for game in games]
    with replacing(path) as draft:
        draft.write_text(json.dumps({"format": _FORMAT, "games": rows}), encoding="utf-8")


def load_list(path: Path) -> list[OfficialGameInfo] | None:
    """None if there is none, or none that can be read: it is then made again."""
    if not path.exists():
        return None
    try:
        saved: Any = read_json(path)
        if saved["format"] != _FORMAT:
            return None
        return [OfficialGameInfo(**row) for row in saved["games"]]
    except (DamagedFileError, KeyError, TypeError) as error:
        _log.warning("the list of games %s is damaged (%s); it is made again", path, error)
        return None


__all__ = [
    "FAMILIES",
    "SPLITS",
    "GameSource",
    "OfficialGameInfo",
    "check_id",
    "load_list",
    "problem_digest",
    "read_object",
    "save_list",
    "stated_task",
]
