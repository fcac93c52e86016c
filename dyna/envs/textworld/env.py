"""One episode at a time of a TextWorld game, played by TextWorld's own interpreter.

A game's files are on disk only while it is loaded, in a folder that is removed again at once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dyna.envs.episode import EpisodeClock
from dyna.envs.textworld.store import MadeGame
from dyna.envs.textworld.text import room_of, screen, status_line, tidy, was_carried_out
from dyna.types import Action, Outcome, Start, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayOptions:
    """What a world lets its players see, and for how long; see `TextWorldWorld`."""

    admissible: bool
    banner: bool
    status_line: bool
    max_turns: int


class TextWorldEnv:
    """The reward of a step is what it added to the score, as a share of the highest score.

    A lost game ends without success. Play blocks for some milliseconds a step; a reset may have to
    make the game first, which takes seconds.
    """

    def __init__(self, find_game: Callable[[Task], MadeGame], *, options: PlayOptions) -> None:
        """`find_game` makes the game of a task if need be, and raises for a foreign task."""
        self._find_game = find_game
        self._options = options
        self._game: Any = None
        self._made: MadeGame | None = None
        self._clock = EpisodeClock(max_turns=options.max_turns)
        self._score = 0
        self._turn = 1
        self._room = ""
        self._admissible: tuple[str, ...] | None = None

    async def reset(self, task: Task) -> Start:
        """Raises `ValueError` for a task that is not of this world, and `GameMakingError`."""
        made = self._find_game(task)
        self._stop()
        self._made = made
        self._game, state = self._load(made)
        self._clock.begin()
        self._score, self._turn, self._room = 0, 1, ""
        self._read_commands(state)
        observation = self._tell(tidy(state["feedback"], banner=self._options.banner))
        return Start(observation=observation, admissible=self._admissible)

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        command, answer = screen(action.command)
        if answer:
            return Outcome(
                observation=self._tell(answer),
                valid=False,
                stop=self._clock.tick(terminated=False),
                admissible=self._admissible,
            )
        state, _, _ = self._game.step(command)
        return self._outcome(state)

    async def close(self) -> None:
        self._stop()

    def _outcome(self, state: Any) -> Outcome:
        assert self._made is not None
        won, lost = bool(state["won"]), bool(state["lost"])
        score = int(state["score"] or 0)
        gained = score - self._score
        self._score = score
        self._turn = int(state["moves"] or 0) + 1
        self._read_commands(state)
        if won or lost:
            self._admissible = () if self._options.admissible else None
        return Outcome(
            observation=self._tell(tidy(state["feedback"])),
            reward=gained / self._made.max_score if self._made.max_score else float(won),
            terminated=won or lost,
            success=won,
            stop=self._clock.tick(terminated=won or lost),
            valid=was_carried_out(state["raw"]),
            admissible=self._admissible,
        )

    def _load(self, made: MadeGame) -> tuple[Any, Any]:
        textworld: Any = import_module("textworld")
        infos = textworld.EnvInfos(
            feedback=True,
            score=True,
            moves=True,
            won=True,
            lost=True,
            last_action=True,
            admissible_commands=self._options.admissible,
        )
        with tempfile.TemporaryDirectory(prefix="dyna-textworld-") as folder:
            game = textworld.start(str(made.unpack(Path(folder))), infos)
            return game, game.reset()

    def _read_commands(self, state: Any) -> None:
        if self._options.admissible:
            self._admissible = tuple(state["admissible_commands"])

    def _tell(self, text: str) -> str:
        self._room = room_of(text) or self._room
        if not self._options.status_line:
            return text
        line = status_line(self._room, score=self._score, turn=self._turn)
        return f"{text}\n\n{line}" if text else line

    def _stop(self) -> None:
        if self._game is not None:
            self._game.close()
        self._game = None


__all__ = ["PlayOptions", "TextWorldEnv"]
