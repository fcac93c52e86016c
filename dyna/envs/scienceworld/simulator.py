"""One interface of the simulator among many in one Java process, each as if it were alone there.

The simulator keeps three things for the whole process: the random numbers, the counter that names
objects, and the simplifications in force. They are exchanged whenever another interface has its
turn, so that no episode can tell who else is playing.
"""

# py4j carries no types: what crosses its gateway is unknown to the checker.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dyna.envs.jvm import JavaError, Jvm

_T = TypeVar("_T")
FIRST_MOVE = "look around"
"""What the official `reset` plays before the agent's first move."""

_SPOKEN_TO_THE_INTERFACE = frozenset({"help", "objects", "task"})
_NO_ACTION = (
    "Unknown action.  Type 'help' for a list of actions, and 'objects' for a list of possible "
    "object referents. "
)
"""What the interface makes of an empty answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What an interface is loaded with. Equal lessons are the same game, word for word."""

    task: str
    variation: int
    simplifications: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the simulator says to one command."""

    text: str
    score: int
    """Of 100; -100 once the task has failed."""
    completed: bool


@dataclass(slots=True)
class Belongings:
    """What an interface would call its own, were it alone in its Java process."""

    random: Any
    count: int = 0
    """Of the objects that have been named so far."""
    simplifications: str = ""
    """In force, `easy` spelled out."""


class Simulator:
    """Made by a `Jvm`'s owner. Any thread may use it, one call at a time."""

    def __init__(self, jvm: Jvm, *, shared: SharedState) -> None:
        self.jvm = jvm
        self._shared = shared
        self.own = Belongings(random=None)
        self._agent: Any = None
        self._last = Answer(text="", score=0, completed=False)
        self._interface: Any = jvm.call(self._make, doing="making an interface")

    def load(self, lesson: Lesson) -> tuple[str, Answer]:
        """Begin a game: the task in words, and the answer to the first look around."""

        def load() -> tuple[str, Answer]:
            error = self._interface.load(
                lesson.task, lesson.variation, lesson.simplifications, False
            )
            if error:
                raise JavaError(f"scienceworld cannot load {lesson}: {error}")
            self._take_agent()
            first = self._step(FIRST_MOVE)
            return str(self._interface.getTaskDescription()), first

        return self._use(load, doing=f"loading {lesson}")

    def step(self, command: str) -> Answer:
        """Raises `JavaError` if the simulator broke, which it reports as a failed task."""
        return self._use(lambda: self._step(command), doing=f"answering {command[:60]!r}")

    def valid_actions(self) -> tuple[str, ...]:
        """Every command that would do something now: hundreds to thousands, and slow to list."""

        def read() -> tuple[str, ...]:
            return self._lines(self._interface.getValidActionObjectCombinations())

        return self._use(read, doing="listing the valid actions")

    def templates(self) -> tuple[str, ...]:
        """The kinds of commands, with OBJ for an object."""
        return self._use(
            lambda: self._lines(self._interface.getPossibleActions()), doing="listing the templates"
        )

    def goal_progress(self) -> str:
        return self._use(
            lambda: str(self._interface.getGoalProgressStr()), doing="reading the goals"
        )

    def object_tree(self) -> str:
        """All objects with their properties, as JSON."""
        return self._use(
            lambda: str(self._interface.getObjectTree("")), doing="reading the objects"
        )

    def rooms(self) -> list[tuple[str, str]]:
        """The name of each room and what `look around` says there; nothing moves or changes."""
        return self._use(self._read_rooms, doing="reading the rooms")

    def num_moves(self) -> int:
        """How much time has passed, in ticks of the simulator."""
        return self._use(lambda: int(self._interface.getNumMoves()), doing="counting the moves")

    def gold_path(self, lesson: Lesson) -> tuple[str, ...]:
        """One solution. May take a minute; what was loaded before is gone."""

        def read() -> tuple[str, ...]:
            error = self._interface.load(
                lesson.task, lesson.variation, lesson.simplifications, True
            )
            if error:
                raise JavaError(f"scienceworld cannot load {lesson}: {error}")
            commands = self._lines(self._interface.getGoldActionSequence())
            self._take_agent()
            return commands

        return self._use(read, doing=f"solving {lesson}")

    def _make(self) -> Any:
        self.own.random = self.jvm.classes.java.util.Random()
        # Making one draws random numbers, which must not be another's.
        self._shared.give_to(self)
        return self.jvm.classes.scienceworld.runtime.pythonapi.PythonInterface()

    def _use(self, function: Callable[[], _T], *, doing: str) -> _T:
        def use() -> _T:
            self._shared.give_to(self)
            return function()

        return self.jvm.call(use, doing=doing)

    def _step(self, command: str) -> Answer:
        """As the official `step`, without the record of every turn that it keeps, for which it
        looks around and lists all objects each time."""
        if command.strip().lower() in _SPOKEN_TO_THE_INTERFACE:
            return replace(self._last, text=str(self._interface.step(command)))
        answer = self._agent.step(command)
        text, score = str(answer._1()), round(100 * float(answer._2()))
        completed = bool(answer._3())
        self.jvm.drop(answer)
        if score < 0 and bool(self._agent.isInErrorState()):
            raise JavaError(f"scienceworld broke: {text[:200]}")
        self._last = Answer(text=text or _NO_ACTION, score=score, completed=completed)
        return self._last

    def _take_agent(self) -> None:
        """Get hold of the game that was just loaded."""
        if self._agent is not None:
            self.jvm.drop(self._agent)
        option = self._interface.agentInterface()
        self._agent = option.get()
        self.jvm.drop(option)
        self.own.simplifications = str(self._agent.simplificationStr())
        self._last = Answer(text="", score=0, completed=False)

    def _read_rooms(self) -> list[tuple[str, str]]:
        universe = self._agent.universe()
        held = universe.getContainedObjects(True)
        places = held.iterator()
        used, rooms = [universe, held, places], list[tuple[str, str]]()
        location = self._shared.location
        while places.hasNext():
            place = places.next()
            used.append(place)
            if location.isInstance(place):
                rooms.append((str(place.name()), str(place.getDescription(1)).strip()))
        self.jvm.drop(*used)
        return rooms

    def _lines(self, java_list: Any) -> tuple[str, ...]:
        # One call for the whole list, where going through it would take one for each element.
        text = str(self.jvm.classes.java.lang.String.join("\n", java_list))
        self.jvm.drop(java_list)
        return tuple(text.split("\n")) if text else ()


class SharedState:
    """What all interfaces of one Java process share, and whose it is at the moment."""

    def __init__(self, jvm: Jvm) -> None:
        self._jvm = jvm
        self._owner: Simulator | None = None
        jvm.call(self._find, doing="finding the shared state")

    def give_to(self, simulator: Simulator) -> None:
        """To be called under the lock of the Java process."""
        if self._owner is simulator:
            return
        if self._owner is not None:
            self._owner.own.count = int(self._ids.count())
        # Nobody's, should one of the calls fail half way.
        self._owner = None
        self._field.set(self._generator, simulator.own.random)
        self._set_count(simulator.own.count)
        answer = self._simplifier.parseSimplificationStr(simulator.own.simplifications)
        self._jvm.drop(answer)
        self._owner = simulator

    def _find(self) -> None:
        classes = self._jvm.classes
        for_name = classes.java.lang.Class.forName
        random_class = for_name("scala.util.Random")
        module = for_name("scala.util.Random$").getField("MODULE$")
        self._generator: Any = module.get(None)
        self._field: Any = random_class.getDeclaredField("self")
        self._field.setAccessible(True)
        self._ids: Any = classes.util.UniqueIdentifier
        self._set_count: Any = getattr(self._ids, "count_$eq")
        self._simplifier: Any = classes.main.scala.scienceworld.runtime.SimplifierProcessor
        self.location: Any = for_name("scienceworld.objects.location.Location")


__all__ = ["FIRST_MOVE", "Answer", "Lesson", "SharedState", "Simulator"]
