"""Games in a folder as `alfworld-download` leaves it.

    json_2.1.1/{train,valid_seen,valid_unseen,valid_train}/TASK/TRIAL/
        game.tw-pddl  initial_state.pddl  traj_data.json

As in ALFWorld, a trial is a game if it has a `game.tw-pddl`, and those with movable receptacles or
sliced objects are none. Of that file only the problem and the task's words are used: the rules are
the engine's own, so files that were made for another grammar will do. A split without any such file
is read from `initial_state.pddl`, and its tasks are put into words here.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

from dyna.envs.alfworld.games import (
    SPLITS,
    OfficialGameInfo,
    check_id,
    load_list,
    problem_digest,
    read_object,
    save_list,
    stated_task,
)
from dyna.envs.caching import cache_folder
from dyna.files import DamagedFileError

_log = logging.getLogger(__name__)

GAME, PROBLEM, TRAJECTORY = "game.tw-pddl", "initial_state.pddl", "traj_data.json"
_DATA = "json_2.1.1"
_EXCLUDED = ("movable", "Sliced")
_REMEDY = "it is cut off or was changed; run `alfworld-download -f` to fetch it again"


class GameFolder:
    """Example: `GameFolder(Path("~/.cache/alfworld").expanduser()).games("valid_seen")`.

    The path is that of `json_2.1.1` or of the folder around it. Raises `DamagedFileError` for a
    folder without games, and for the first file that is not whole.
    """

    def __init__(self, path: Path) -> None:
        self._root = path / _DATA if (path / _DATA).is_dir() else path
        self._splits = [split for split in SPLITS if (self._root / split).is_dir()]
        self._listed: dict[str, list[OfficialGameInfo]] = {}
        if not self._splits:
            raise DamagedFileError(
                f"{path} has none of the folders {list(SPLITS)}, nor {_DATA} with them; "
                "data must be the folder that alfworld-download made, or a pack of games "
                "(.jsonl, .jsonl.xz)"
            )

    def splits(self) -> Sequence[str]:
        return self._splits

    def games(self, split: str) -> Sequence[OfficialGameInfo]:
        if split not in self._listed:
            self._listed[split] = self._list(split)
        return self._listed[split]

    def problem(self, game: OfficialGameInfo) -> str:
        problem = self._read(game.id, split=game.split)[0]
        if problem_digest(problem) != game.digest:
            raise DamagedFileError(
                f"{self.where(game)} is no longer the game that was listed; make the world again"
            )
        return problem

    def where(self, game: OfficialGameInfo) -> str:
        return str(self._root / game.split / game.id)

    def _list(self, split: str) -> list[OfficialGameInfo]:
        trials = sorted(self._trials(split))
        with_game = [trial for trial in trials if trial[1] == GAME]
        if trials and len(with_game) < len(trials):
            _log.info(
                "%s: %d trials of %d have no %s%s",
                self._root / split, len(trials) - len(with_game), len(trials), GAME,
                " and are left out, as in ALFWorld" if with_game else "",
            )  # fmt: skip
        chosen = with_game or [trial for trial in trials if trial[1] == PROBLEM]
        if not chosen:
            raise DamagedFileError(
                f"{self._root / split} holds no {GAME}, and no {PROBLEM} beside a {TRAJECTORY}; "
                "the download is not complete: run `alfworld-download -f`"
            )
        facts = json.dumps([str((self._root / split).resolve()), *chosen])
        name = f"folder-{blake2b(facts.encode(), digest_size=8).hexdigest()}"
        listed = cache_folder("alfworld") / f"{name}.json"
        games = load_list(listed)
        if games is None:
            games = [self._info(trial[0], split=split) for trial in chosen]
            save_list(listed, games=games)
        return games

    def _trials(self, split: str) -> Iterator[tuple[str, str, int, int]]:
        """(id, the file to read, its size, its time) of each trial that has one."""
        for task in os.scandir(self._root / split):
            if not task.is_dir() or any(word in task.name for word in _EXCLUDED):
                continue
            for trial in os.scandir(task.path):
                found = (
                    {entry.name: entry for entry in os.scandir(trial.path)}
                    if (trial.is_dir())
                    else {}
                )
                name = GAME if GAME in found else PROBLEM
                if name in found and (name == GAME or TRAJECTORY in found):
                    stat = found[name].stat()
                    yield f"{task.name}/{trial.name}", name, stat.st_size, stat.st_mtime_ns

    def _info(self, game_id: str, *, split: str) -> OfficialGameInfo:
        check_id(game_id, where=str(self._root / split))
        problem, task, solvable = self._read(game_id, split=split)
        return OfficialGameInfo(
            id=game_id,
            split=split,
            solvable=solvable,
            task=task,
            digest=problem_digest(problem),
        )

    def _read(self, game_id: str, *, split: str) -> tuple[str, str, bool]:
        """(problem, task in words, solvable)"""
        folder = self._root / split / game_id
        path = folder / GAME
        if not path.exists():
            return _text(folder / PROBLEM), "", True
        game = read_object(_text(path), where=str(path), remedy=_REMEDY)
        problem = game.get("pddl_problem")
        if not isinstance(problem, str) or not problem.strip():
            raise DamagedFileError(f"{path} has no `pddl_problem`; {_REMEDY}")
        task = stated_task(str(game.get("grammar") or ""))
        return problem, task, game.get("solvable") is True


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DamagedFileError(f"{path} is gone; run `alfworld-download -f`") from None
    except UnicodeDecodeError as error:
        raise DamagedFileError(f"{path} is not text ({error}); {_REMEDY}") from error


__all__ = ["GAME", "PROBLEM", "TRAJECTORY", "GameFolder"]
