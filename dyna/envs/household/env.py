"""One episode at a time of household games, wherever their houses and their engine come from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from dyna.envs.episode import EpisodeClock
from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.hidden_state import describe_hidden_state
from dyna.types import Action, Outcome, Start, Task

BANNER = "-= Welcome to TextWorld, ALFRED! =-\n\n"


class Game(Protocol):
    """What plays a house: our engine, or ALFWorld's own."""

    def reset(self) -> str: ...

    def step(self, command: str) -> tuple[str, bool, bool]:
        """(observation, won, valid)."""
        ...

    def admissible(self) -> list[str]: ...


_Game = TypeVar("_Game", bound=Game)


class GameEnv(Generic[_Game]):
    """An env over any `Game`. `hidden_state` tells it in words after a reset; None keeps silent.

    `banner` keeps ALFWorld's first line; `max_turns` of 0 means no limit.
    """

    def __init__(
        self,
        new_game: Callable[[Task], _Game],
        *,
        hidden_state: Callable[[_Game], str] | None,
        max_turns: int,
        admissible: bool,
        banner: bool,
    ) -> None:
        self._new_game = new_game
        self._hidden_state = hidden_state
        self._max_turns = max_turns
        self._admissible = admissible
        self._banner = banner
        self._clock = EpisodeClock(max_turns=max_turns)
        self._game: _Game | None = None

    async def reset(self, task: Task) -> Start:
        game = self._game = self._new_game(task)
        observation = game.reset()
        self._clock.begin()
        return Start(
            observation=BANNER + observation if self._banner else observation,
            hidden_state=self._hidden_state(game) if self._hidden_state else None,
            admissible=tuple(game.admissible()) if self._admissible else None,
        )

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        game = self._running()
        observation, won, valid = game.step(action.command)
        return Outcome(
            observation=observation,
            reward=1.0 if won else 0.0,
            terminated=won,
            success=won,
            stop=self._clock.tick(terminated=won),
            valid=valid,
            admissible=tuple(game.admissible()) if self._admissible else None,
        )

    async def close(self) -> None:
        self._game = None
        self._clock = EpisodeClock(max_turns=self._max_turns)

    def _running(self) -> _Game:
        if self._game is None:
            raise RuntimeError("there is no episode; call reset first")
        return self._game


class HouseholdEnv(GameEnv[HouseholdGame]):
    """Example: `HouseholdEnv(world.game, max_turns=20, admissible=True,
    expose_hidden_state=True, banner=False)`, where `world.game(task)` is a fresh game."""

    def __init__(
        self,
        new_game: Callable[[Task], HouseholdGame],
        *,
        max_turns: int,
        admissible: bool,
        expose_hidden_state: bool,
        banner: bool,
    ) -> None:
        super().__init__(
            new_game,
            hidden_state=describe_hidden_state if expose_hidden_state else None,
            max_turns=max_turns,
            admissible=admissible,
            banner=banner,
        )

    async def clone(self) -> HouseholdEnv:
        """Another env in the same state of the same episode. Raises `RuntimeError` before one."""
        twin = HouseholdEnv(
            self._new_game,
            max_turns=self._max_turns,
            admissible=self._admissible,
            expose_hidden_state=self._hidden_state is not None,
            banner=self._banner,
        )
        twin._game = self._running().clone()
        twin._clock = self._clock.copy()
        return twin


__all__ = ["BANNER", "Game", "GameEnv", "HouseholdEnv"]
