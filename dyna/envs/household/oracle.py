"""A player who sees everything: the shortest proof that a task can be done.

The oracle reads a game's state, hidden contents included, and goes straight for the goal. What it
does cannot be learned from the text alone; to show an agent how a task is done, use the expert.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.house import Family, GoalNaming
from dyna.envs.household.vocabulary import Process, Property
from dyna.types import Context, Task

_STATE = {Process.CLEAN: "clean", Process.HEAT: "hot", Process.COOL: "cool"}
STUCK = "look"
"""What the oracle says when it sees no way."""


class Oracle:
    """Example: `Oracle(world.game)(context)` is the next command, after any detour."""

    def __init__(self, new_game: Callable[[Task], HouseholdGame]) -> None:
        self._new_game = new_game

    def __call__(self, context: Context) -> str:
        game = self._new_game(context.task)
        for turn in context.turns[: context.length]:
            game.step(turn.action.command)
        return next_command(game)


def next_command(game: HouseholdGame) -> str:
    """The next command towards the goal; `look` where no way is seen."""
    return _Plan.of(game).command()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    game: HouseholdGame
    wanted: frozenset[int]
    """Objects that would serve the goal, by index."""
    targets: tuple[int, ...]
    """Receptacles, or lamps, where it ends."""
    lying: dict[int, int]
    """Where each object is that is in a receptacle."""

    @classmethod
    def of(cls, game: HouseholdGame) -> _Plan:
        house, goal = game.house, game.house.goal
        by_kind = goal.naming is GoalNaming.KIND
        process = goal.family.process
        needed = {Property.PICKUPABLE} | ({process.needs} if process else set[Property]())
        ends = house.objects if goal.family is Family.EXAMINE_IN_LIGHT else house.receptacles
        return cls(
            game=game,
            wanted=frozenset(
                i
                for i, o in enumerate(house.objects)
                if (o.kind if by_kind else o.name) in goal.objects and needed <= o.properties
            ),
            targets=tuple(
                i for i, e in enumerate(ends) if (e.kind if by_kind else e.name) == goal.target
            ),
            lying={o: r for r in range(len(house.receptacles)) for o in game.contents_by_index(r)},
        )

    def command(self) -> str:
        held = self.game.held_index()
        if held is not None and held not in self.wanted:
            return self._put_down(held)
        if self.game.house.goal.family is Family.EXAMINE_IN_LIGHT:
            return self._fetch(set()) if held is None else self._light()
        if held is not None:
            return self._bring(held)
        end = self._end()
        placed = {o for o, r in self.lying.items() if r == end and o in self.wanted}
        return self._fetch({o for o in placed if self._is_done(o)})

    def _light(self) -> str:
        for lamp in self.targets:
            thing, place = self.game.house.objects[lamp], self.lying.get(lamp)
            if place is not None and Property.TOGGLEABLE in thing.properties:
                return self._go(place) or f"use {thing.name}"
        return STUCK

    def _bring(self, held: int) -> str:
        house, process = self.game.house, self.game.house.goal.family.process
        name = house.objects[held].name
        if process is not None and not self._is_done(held):
            for r, receptacle in enumerate(house.receptacles):
                if process in receptacle.processes:
                    return self._go(r) or f"{process.value} {name} with {receptacle.name}"
            return STUCK
        end = self._end()
        if end is None:
            return STUCK
        return self._reach(end) or f"move {name} to {house.receptacles[end].name}"

    def _end(self) -> int | None:
        """Where most of what is wanted lies already, among the places where it fits."""
        kinds = {self.game.house.objects[o].kind for o in self.wanted}
        ends = [r for r in self.targets if any(self._fits(r, kind=kind) for kind in kinds)]
        return max(
            ends, key=lambda r: sum(self.lying.get(o) == r for o in self.wanted), default=None
        )

    def _fetch(self, placed: set[int]) -> str:
        for o in sorted(self.wanted - placed):
            place = self.lying.get(o)
            if place is not None:
                names = self.game.house.objects[o].name, self.game.house.receptacles[place].name
                return self._reach(place) or f"take {names[0]} from {names[1]}"
        return STUCK

    def _put_down(self, held: int) -> str:
        house, thing = self.game.house, self.game.house.objects[held]
        places = [r for r in range(len(house.receptacles)) if self._fits(r, kind=thing.kind)]
        places.sort(key=lambda r: house.receptacles[r].location != self.game.location)
        if not places:
            return STUCK
        return self._reach(places[0]) or f"move {thing.name} to {house.receptacles[places[0]].name}"

    def _fits(self, receptacle: int, *, kind: str) -> bool:
        return (self.game.house.receptacles[receptacle].kind, kind) in self.game.house.fits

    def _is_done(self, thing: int) -> bool:
        process = self.game.house.goal.family.process
        return process is None or _STATE[process] in self.game.states(thing)

    def _go(self, r: int) -> str | None:
        receptacle = self.game.house.receptacles[r]
        is_there = receptacle.location == self.game.location
        return None if is_there else f"go to {receptacle.name}"

    def _reach(self, r: int) -> str | None:
        receptacle = self.game.house.receptacles[r]
        is_shut = receptacle.openable and not self.game.is_open(r)
        verb = "unlock" if self.game.is_locked(r) else "open"
        return self._go(r) or (f"{verb} {receptacle.name}" if is_shut else None)


__all__ = ["STUCK", "Oracle", "next_command"]
