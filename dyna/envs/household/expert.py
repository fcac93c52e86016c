"""A scripted searcher: solves every family from the text alone, without privileged information.

It looks into receptacles in turn until it has seen what the task asks for, then carries it through.
Every call reads the whole transcript again, so it may take over an episode that another began.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.envs.household.house import Family
from dyna.envs.household.transcript import (
    Belief,
    StatedGoal,
    go,
    kind_of,
    reach,
    read_transcript,
)
from dyna.envs.household.vocabulary import Vocabulary
from dyna.types import Context


class SearchOrder(StrEnum):
    """Where to look first."""

    LISTED = "listed"
    """The order of the first observation: the easiest habit to imitate."""
    LIKELY = "likely"
    """Where the object fits before where it does not, what stands open before what is closed:
    needed in full-size rooms."""


class Expert:
    """Example: `Expert(ALFWORLD)(context)` is the command to give next.

    `locks` are the kinds of receptacle that it knows to be locked."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        order: SearchOrder = SearchOrder.LIKELY,
        locks: frozenset[str] = frozenset(),
    ) -> None:
        self.vocabulary = vocabulary
        self.order = order
        self.locks = locks

    def __call__(self, context: Context) -> str:
        belief = read_transcript(context, locks=self.locks)
        if belief.goal is None or not belief.receptacles:
            return "look"
        if belief.goal.family is Family.EXAMINE_IN_LIGHT:
            return self._examine(belief, belief.goal)
        return self._carry(belief, belief.goal)

    def _carry(self, belief: Belief, goal: StatedGoal) -> str:
        process = goal.family.process
        held = belief.held
        if held is not None and goal.wants(held):
            if process is not None and (process.value, held) not in belief.done:
                tool = self._nearest(belief, lambda r: process in self._processes(r))
                if tool is not None:
                    return go(belief, place=tool) or f"{process.value} {held} with {tool}"
            end = self._end(belief, goal)
            return "look" if end is None else reach(belief, place=end) or f"move {held} to {end}"
        if held is not None:
            return self._put_down(belief, held)
        end = self._end(belief, goal)
        for thing, place in belief.places.items():
            if goal.wants(thing) and not self._is_placed(belief, goal, thing, place, end):
                return reach(belief, place=place) or f"take {thing} from {place}"
        return self._search(belief, goal.objects, skip=lambda r: self._is_hopeless(goal, r))

    def _examine(self, belief: Belief, goal: StatedGoal) -> str:
        held, places = belief.held, belief.places
        if held is not None and not goal.wants(held):
            return self._put_down(belief, held)
        if held is None:
            for thing, place in places.items():
                if goal.wants(thing):
                    return reach(belief, place=place) or f"take {thing} from {place}"
            return self._search(belief, goal.objects, skip=lambda _: False)
        for thing, place in places.items():
            if goal.is_target(thing):
                return go(belief, place=place) or f"use {thing}"
        return self._search(belief, (goal.target,), skip=lambda _: False)

    def _end(self, belief: Belief, goal: StatedGoal) -> str | None:
        """Where to bring things: for `pick_two`, where one already lies."""
        ends = [r for r in belief.receptacles if goal.is_target(r)]
        if goal.family is Family.PICK_TWO:
            begun = [r for r in ends if any(goal.wants(o) for o in belief.contents.get(r, ()))]
            ends = begun or ends
        if belief.location in ends:
            return belief.location
        return ends[0] if ends else None

    def _is_placed(
        self, belief: Belief, goal: StatedGoal, thing: str, place: str, end: str | None
    ) -> bool:
        process = goal.family.process
        if process is not None:
            return (process.value, thing) in belief.done and goal.is_target(place)
        return place == end

    def _is_hopeless(self, goal: StatedGoal, receptacle: str) -> bool:
        """No use looking there: had it been there, the task would have been done at the start."""
        return goal.family is Family.PICK_AND_PLACE and goal.is_target(receptacle)

    def _put_down(self, belief: Belief, held: str) -> str:
        place = self._nearest(
            belief, lambda r: self.vocabulary.can_hold(kind_of(r), object_kind=kind_of(held))
        )
        return "look" if place is None else reach(belief, place=place) or f"move {held} to {place}"

    def _processes(self, receptacle: str) -> frozenset[str]:
        kind = kind_of(receptacle)
        if not self.vocabulary.has_receptacle(kind):
            return frozenset()
        return frozenset(self.vocabulary.receptacle(kind).processes)

    def _nearest(self, belief: Belief, accept: Callable[[str], bool]) -> str | None:
        options = [r for r in belief.receptacles if accept(r)]
        if belief.location in options:
            return belief.location
        return options[0] if options else None

    def _search(
        self, belief: Belief, words: tuple[str, ...], *, skip: Callable[[str], bool]
    ) -> str:
        """Look into the next receptacle not seen into yet; round again once all have been."""
        unseen = [r for r in belief.receptacles if r not in belief.contents]
        hopeful = [r for r in unseen if not skip(r)] or unseen
        if not hopeful:
            others = [r for r in belief.receptacles if r != belief.location]
            if not others:
                return "look"
            here = belief.receptacles.index(belief.location) if belief.location else -1
            return f"go to {belief.receptacles[(here + 1) % len(belief.receptacles)]}"
        if belief.location in hopeful:
            return reach(belief, place=belief.location) or f"examine {belief.location}"
        if self.order is SearchOrder.LIKELY:
            kinds = {word if " " not in word else kind_of(word) for word in words}
            hopeful.sort(key=lambda r: self._rank(r, kinds=kinds))
        return reach(belief, place=hopeful[0]) or f"examine {hopeful[0]}"

    def _rank(self, receptacle: str, *, kinds: set[str]) -> tuple[bool, bool]:
        name = kind_of(receptacle)
        if not self.vocabulary.has_receptacle(name):
            return (True, False)
        kind = self.vocabulary.receptacle(name)
        return (not kinds & (kind.holds | kind.bears), kind.openable)


def expert_command(context: Context) -> str:
    """The next command of the expert that knows ALFWorld's words."""
    return _ALFWORLD_EXPERT(context)


_ALFWORLD_EXPERT = Expert(ALFWORLD)
