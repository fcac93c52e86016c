"""What a careful reader knows after reading an episode's text: places, things, and the goal.

Whoever acts by rules without seeing the hidden state (the expert, the explorers) reads the
transcript here. A sentence that says nothing known is passed over: a dream may say anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from dyna.envs.household.house import Family, GoalNaming
from dyna.envs.household.tables import NOTHING_HAPPENS
from dyna.types import Context

_NAME = r"[^\W\d]\S* \d+"
_FIRST_LIST = re.compile(r"Looking quickly around you, you see (.*?)\.\s")
_TASK = re.compile(r"Your task is to: (.*?)\.?\s*\Z", re.DOTALL)
_LISTED = re.compile(rf"\ba ({_NAME}?)(?=[,.]|\s|\Z)")
_ARRIVE = re.compile(rf"You arrive at ({_NAME})\.")
_CONTENTS = re.compile(
    rf"(?:On the ({_NAME}), you see|The ({_NAME}) is open\. In it, you see) ([^.]*)\."
)
_CLOSED = re.compile(rf"The ({_NAME}) is closed\.")
_UNLOCK = re.compile(rf"You unlock the ({_NAME})\.")
_CLOSE = re.compile(rf"You close the ({_NAME})\.")
_PICK_UP = re.compile(rf"You pick up the ({_NAME}) from the ({_NAME})\.")
_MOVE = re.compile(rf"You move the ({_NAME}) to the ({_NAME})\.")
_PROCESS = re.compile(rf"You (clean|heat|cool) the ({_NAME}) using the ({_NAME})\.")
_TURN_ON = re.compile(rf"You turn on the ({_NAME})\.")
_FACING = re.compile(rf"You are facing the ({_NAME})")

_GOALS: tuple[tuple[Family, GoalNaming, re.Pattern[str]], ...] = tuple(
    (family, naming, re.compile(pattern))
    for family, naming, pattern in (
        (Family.PICK_TWO, GoalNaming.INSTANCE, rf"put ({_NAME}) and ({_NAME}) in ({_NAME})"),
        (Family.PICK_TWO, GoalNaming.KIND, r"(?:put|find) two (\S+) (?:and put them )?in (\S+)"),
        (
            Family.EXAMINE_IN_LIGHT,
            GoalNaming.INSTANCE,
            rf"look at ({_NAME}) under ({_NAME})",
        ),
        (
            Family.EXAMINE_IN_LIGHT,
            GoalNaming.KIND,
            r"(?:look at|examine the) (\S+) (?:under|with) the (\S+)",
        ),
        *(
            (family, naming, pattern)
            for family, verb, adjective in (
                (Family.CLEAN, "clean", "clean"),
                (Family.HEAT, "heat", "hot"),
                (Family.COOL, "cool", "cool"),
            )
            for naming, pattern in (
                (GoalNaming.INSTANCE, rf"{verb} ({_NAME}) and put it in ({_NAME})"),
                (
                    GoalNaming.KIND,
                    rf"(?:put a {adjective}|{verb} some) (\S+) (?:and put it )?in (\S+)",
                ),
            )
        ),
        (Family.PICK_AND_PLACE, GoalNaming.INSTANCE, rf"put ({_NAME}) in ({_NAME})"),
        (Family.PICK_AND_PLACE, GoalNaming.KIND, r"put (?:a|some) (\S+) (?:in|on) (\S+)"),
    )
)


def kind_of(name: str) -> str:
    return name.rpartition(" ")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedGoal:
    """The task as its words say it."""

    family: Family
    naming: GoalNaming
    objects: tuple[str, ...]
    target: str

    def wants(self, name: str) -> bool:
        """Whether an object is (one of) what the task asks for."""
        return (kind_of(name) if self.naming is GoalNaming.KIND else name) in self.objects

    def is_target(self, name: str) -> bool:
        """Whether a receptacle (or lamp) is where it should end."""
        return (kind_of(name) if self.naming is GoalNaming.KIND else name) == self.target


@dataclass(slots=True)
class Belief:
    """What the transcript has told so far."""

    receptacles: list[str] = field(default_factory=list[str])
    """In the order of the first observation."""
    goal: StatedGoal | None = None
    """None for a task in words that are not known here."""
    location: str | None = None
    beside: set[str] = field(default_factory=set[str])
    """What is known to be in reach from there too: in ALFWorld's rooms places may share a spot, and
    `go to` does nothing, or is not listed."""
    contents: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What was last known to lie in each receptacle seen into."""
    is_open: dict[str, bool] = field(default_factory=dict[str, bool])
    """Of the openable receptacles met so far."""
    locks: frozenset[str] = frozenset()
    """Kinds known to be locked until somebody unlocks them; no text says which."""
    unlocked: set[str] = field(default_factory=set[str])
    held: str | None = None
    done: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(process or `use`, object) seen to happen and not undone."""

    moves: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """(object, receptacle) of every move so far."""
    lit: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])
    """(lamp, what was held) of every lamp turned on."""

    @property
    def places(self) -> dict[str, str]:
        """Each known object's receptacle; what is held is in none."""
        return {thing: place for place, things in self.contents.items() for thing in things}

    def has_missed(self, goal: StatedGoal) -> bool:
        """Whether something right was put wrong, something wrong put right, or a lamp lit in vain.

        The game goes on, so a move of the right thing to the right place was not the whole task;
        where that alone is no mistake, as for `pick_two`, it does not count.
        """
        if any(goal.is_target(lamp) for lamp, _ in self.lit):
            return True
        needs_process = goal.family.process is not None
        return any(
            goal.wants(thing) != goal.is_target(place)
            or (needs_process and goal.wants(thing) and goal.is_target(place))
            for thing, place in self.moves
        )

    def is_closed(self, receptacle: str) -> bool:
        return self.is_open.get(receptacle) is False

    def is_locked(self, receptacle: str) -> bool:
        """As far as is known: what was open once is locked no more."""
        return (
            kind_of(receptacle) in self.locks
            and receptacle not in self.unlocked
            and receptacle not in self.contents
        )


def read_transcript(context: Context, *, locks: frozenset[str] = frozenset()) -> Belief:
    """Pure: the same context gives the same belief. `locks` are kinds known to be locked."""
    belief = _read_start(context.start.observation)
    belief.locks = locks
    for turn in context.turns[: context.length]:
        command, observation = turn.action.command, turn.outcome.observation
        place = command.removeprefix("go to ")
        if observation == NOTHING_HAPPENS and place != command and place in belief.receptacles:
            belief.beside.add(place)
        _read_observation(belief, observation)
    if context.admissible is not None:
        possible = frozenset(context.admissible)
        belief.beside |= {r for r in belief.receptacles if f"go to {r}" not in possible}
    return belief


def read_goal(text: str) -> StatedGoal | None:
    for family, naming, pattern in _GOALS:
        match = pattern.fullmatch(text)
        if match:
            *objects, target = match.groups()
            return StatedGoal(family=family, naming=naming, objects=tuple(objects), target=target)
    return None


def _read_start(text: str) -> Belief:
    belief = Belief()
    seen, task = _FIRST_LIST.search(text), _TASK.search(text)
    if seen:
        belief.receptacles = _LISTED.findall(seen[1])
    if task:
        belief.goal = read_goal(task[1])
    return belief


def _read_observation(belief: Belief, text: str) -> None:
    if arrive := _ARRIVE.match(text) or _FACING.match(text):
        if belief.location != arrive[1]:
            belief.beside.clear()
        belief.location = arrive[1]
    if closed := _CLOSED.search(text) or _CLOSE.match(text):
        belief.is_open[closed[1]] = False
    if unlocked := _UNLOCK.match(text):
        belief.unlocked.add(unlocked[1])
    if seen := _CONTENTS.search(text):
        place = seen[1] or seen[2]
        belief.contents[place] = _LISTED.findall(seen[3])
        if seen[2]:
            belief.is_open[place] = True
    elif pick := _PICK_UP.match(text):
        things = belief.contents.get(pick[2], [])
        belief.contents[pick[2]] = [thing for thing in things if thing != pick[1]]
        belief.held = pick[1]
    elif move := _MOVE.match(text):
        belief.contents.setdefault(move[2], []).append(move[1])
        belief.held = None
        belief.moves.append((move[1], move[2]))
    elif process := _PROCESS.match(text):
        belief.done.add((process[1], process[2]))
        undone = {"heat": "cool", "cool": "heat"}.get(process[1])
        if undone:
            belief.done.discard((undone, process[2]))
    elif use := _TURN_ON.match(text):
        belief.done.add(("use", use[1]))
        belief.lit.append((use[1], belief.held))


def go(belief: Belief, *, place: str) -> str | None:
    """The step towards a place; None when already there."""
    is_near = belief.location == place or place in belief.beside
    return None if is_near else f"go to {place}"


def reach(belief: Belief, *, place: str) -> str | None:
    """The step towards a place's inside; None when there and open."""
    if step := go(belief, place=place):
        return step
    if belief.is_closed(place):
        return f"unlock {place}" if belief.is_locked(place) else f"open {place}"
    if place != belief.location and place not in belief.is_open and place not in belief.contents:
        return f"examine {place}"  # nobody has arrived there, so it may be shut
    return None
