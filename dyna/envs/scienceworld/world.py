"""ScienceWorld as a world of tasks: official variations, light steps, solutions, hidden state."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from threading import Lock
from typing import Any, TypeVar

from dyna.envs.episode import EpisodeClock
from dyna.envs.extras import require, require_java
from dyna.envs.jvm import JavaError, JavaGoneError
from dyna.envs.scienceworld.gold import GoldPaths
from dyna.envs.scienceworld.hidden_state import describe_hidden_state
from dyna.envs.scienceworld.host import JavaHost, JavaOptions, Seat
from dyna.envs.scienceworld.simulator import Answer, Lesson, Simulator
from dyna.envs.scienceworld.task_list import (
    SPLITS,
    TASK_TYPES,
    choose_types,
    clean_simplifications,
    interleave,
)
from dyna.envs.scienceworld.text import AMBIGUOUS, UNKNOWN, canonical, prepare, was_carried_out
from dyna.envs.task_range import check_range, take
from dyna.envs.walkthrough import WalkthroughExpert
from dyna.types import Action, Outcome, Start, Task

ADMISSIBLE = ("none", "templates", "all")
_GOLD_TIMEOUT_S = 600.0
_MIN_HEAP_MB = 128
_T = TypeVar("_T")
_MAX_REMEMBERED = 256
"""Hidden states kept, so that the members of a group do not each read the whole lab."""


class ScienceWorld:
    """Example: `ScienceWorld(tasks=["melt", "find-animal"], simplifications="easy")`

    Raises `MissingExtraError` without the package or Java, and `ValueError` for unknown tasks,
    presets and simplifications. Java starts with the first episode.
    """

    expert: WalkthroughExpert
    """Plays the simulator's own solution; see `walkthrough`."""

    def __init__(
        self,
        *,
        tasks: Sequence[str] = (),
        preset: str = "all",
        simplifications: str = "",
        admissible: str = "none",
        expose_hidden_state: bool = True,
        max_turns: int = 0,
        heap_mb: int = 512,
        step_timeout_s: float = 60.0,
    ) -> None:
        """`tasks` are names or numbers, empty for all of the `preset` (`paper` leaves out seven).
        `admissible`: `templates` appends the kinds of commands to the first observation, `all`
        lists every valid command at every turn, which takes longer than the turn. Java may use
        `heap_mb` MB of heap and is replaced if it gives no answer for `step_timeout_s` s."""
        require("scienceworld", world="scienceworld")
        java = require_java(world="scienceworld")
        if admissible not in ADMISSIBLE:
            raise ValueError(
                f"scienceworld admissible must be one of {list(ADMISSIBLE)}, got {admissible!r}"
            )
        if heap_mb < _MIN_HEAP_MB:
            raise ValueError(f"scienceworld heap_mb must be >= {_MIN_HEAP_MB}, got {heap_mb}")
        if step_timeout_s <= 0:
            raise ValueError(f"scienceworld step_timeout_s must be > 0, got {step_timeout_s}")
        EpisodeClock(max_turns=max_turns)
        self.kinds = choose_types(tasks, preset=preset)
        self.simplifications = clean_simplifications(simplifications, kinds=self.kinds)
        self.admissible = admissible
        self.expose_hidden_state = expose_hidden_state
        self.max_turns = max_turns
        self.version = version("scienceworld")
        self.closed = False
        self._lock = Lock()
        self._tasks: dict[str, list[Task]] = {}
        self._hidden: OrderedDict[Lesson, str] = OrderedDict()
        playing = JavaOptions(java=java, heap_mb=heap_mb, timeout_s=step_timeout_s)
        solving = JavaOptions(
            java=java, heap_mb=heap_mb, timeout_s=_GOLD_TIMEOUT_S, purpose="solve"
        )
        self._host = JavaHost.join(playing, user=self)
        self._solver = JavaHost.join(solving, user=self)
        self._gold = GoldPaths(self._solver, version=self.version)
        self.expert = WalkthroughExpert(self.walkthrough)

    @property
    def splits(self) -> Mapping[str, int | None]:
        return {split: sum(len(k.variations(split)) for k in self.kinds) for split in SPLITS}

    def tasks(self, *, split: str, num: int, offset: int = 0) -> Sequence[Task]:
        """Task types take turns, so that the first few tasks are of all of them."""
        check_range(split, num=num, offset=offset, splits=SPLITS)
        with self._lock:
            if split not in self._tasks:
                pairs = interleave(self.kinds, split=split)
                self._tasks[split] = [self._task(k.name, split=split, index=i) for k, i in pairs]
        remedy = "allow more task types"
        return take(self._tasks[split], split=split, num=num, offset=offset, remedy=remedy)

    def fingerprint(self, task: Task) -> str:
        """Task type, variation and simplifications, from which the simulator makes the whole game;
        no two variations of one task type begin alike."""
        lesson = self.lesson(task)
        return f"{lesson.task}/{lesson.variation}/{lesson.simplifications}"

    def canonical(self, text: str) -> str:
        """See `dyna.envs.scienceworld.text.canonical`."""
        return canonical(text)

    def make(self) -> ScienceWorldEnv:
        return ScienceWorldEnv(self)

    def walkthrough(self, task: Task) -> Sequence[str]:
        """One solution, from the cache or the solver: seconds, half a minute for a few task types.

        Raises `ValueError` for a task of another world, `JavaError` if the solver fails.
        """
        return self._gold.path(self.lesson(task))

    def close(self) -> None:
        """End Java, unless another world of this process uses it."""
        self.closed = True
        self._host.leave(user=self)
        self._solver.leave(user=self)

    @property
    def java_pid(self) -> int | None:
        """Of the process that plays; None before the first episode."""
        return self._host.pid

    def lesson(self, task: Task) -> Lesson:
        """What the simulator is loaded with. Raises `ValueError` for a task that is not ours."""
        params = task.params
        if task.world != "scienceworld" or "variation" not in params:
            raise ValueError(f"task {task.id!r} is of world {task.world!r}, not of scienceworld")
        if params.get("version") != self.version:
            raise ValueError(
                f"task {task.id!r} is of scienceworld {params.get('version')}, installed is "
                f"{self.version}, whose variations may differ; list the tasks again"
            )
        name, variation = task.family, params["variation"]
        kind = next((kind for kind in TASK_TYPES if kind.name == name), None)
        if (
            kind is None
            or not isinstance(variation, int)
            or variation not in range(kind.num_variations)
        ):
            raise ValueError(f"scienceworld has no variation {variation!r} of a task {name!r}")
        given = params.get("simplifications", "")
        if given != self.simplifications:
            raise ValueError(
                f"task {task.id!r} is played with simplifications {given!r}, this world has "
                f"{self.simplifications!r}: make the world with the task's"
            )
        return Lesson(task=name, variation=variation, simplifications=self.simplifications)

    def seat(self) -> Seat:
        """A simulator for one env. Raises `RuntimeError` once this world is closed."""
        if self.closed:
            raise RuntimeError("this ScienceWorld is closed; make another one")
        return self._host.seat()

    def hidden_state(self, lesson: Lesson, *, seat: Seat) -> str:
        """The state of a lesson that was just loaded."""
        with self._lock:
            if lesson in self._hidden:
                self._hidden.move_to_end(lesson)
                return self._hidden[lesson]
        text = describe_hidden_state(seat.simulator)
        with self._lock:
            self._hidden[lesson] = text
            if len(self._hidden) > _MAX_REMEMBERED:
                self._hidden.popitem(last=False)
        return text

    def _task(self, name: str, *, split: str, index: int) -> Task:
        params: dict[str, Any] = {"variation": index, "version": self.version}
        if self.simplifications:
            params["simplifications"] = self.simplifications
        return Task(
            id=f"scienceworld/{name}/{split}/{index}"
            + (f"/{self.simplifications.replace(',', '+')}" if self.simplifications else ""),
            world="scienceworld",
            family=name,
            split=split,
            seed=index,
            params=params,
        )


@dataclass(slots=True)
class _Episode:
    """What has happened, enough to play it again in another Java."""

    lesson: Lesson
    first: Answer
    commands: list[str]
    last: Answer


class ScienceWorldEnv:
    """One episode at a time of a `ScienceWorld`.

    When Java is replaced because another episode's call hung or killed it, this one is played again
    there, and goes on. Its own call that hangs or kills raises `JavaError`.
    """

    def __init__(self, world: ScienceWorld) -> None:
        self._world = world
        self._clock = EpisodeClock(max_turns=world.max_turns)
        self._seat: Seat | None = None
        self._episode: _Episode | None = None

    async def reset(self, task: Task) -> Start:
        world = self._world
        lesson = world.lesson(task)
        self._episode = None
        seat = self._take_seat()
        description, first = seat.simulator.load(lesson)
        observation = f"{description}\n\n{first.text}"
        if world.admissible == "templates":
            listed = ", ".join(seat.simulator.templates())
            observation += f"\n\nAvailable actions, where OBJ is any thing: {listed}"
        hidden = world.hidden_state(lesson, seat=seat) if world.expose_hidden_state else None
        self._episode = _Episode(lesson=lesson, first=first, commands=[], last=first)
        self._clock.begin()
        return Start(observation=observation, hidden_state=hidden, admissible=self._admissible())

    async def step(self, action: Action) -> Outcome:
        self._clock.check()
        episode = self._current()
        command = prepare(action.command)
        # What must not reach the simulator takes no time there; a pending choice stays pending.
        answer = (
            Answer(text=UNKNOWN, score=episode.last.score, completed=False)
            if command is None
            else self._ask(episode, lambda simulator: simulator.step(command))
        )
        # A failed task scores -100. Its episode gives back what it had won and no more, so that
        # the rewards of any episode sum to something in [0, 1].
        least = episode.first.score
        reward = (max(least, answer.score) - max(least, episode.last.score)) / 100
        failed = answer.score < 0
        success = answer.completed and not failed
        if command is not None:
            episode.commands.append(command)
        episode.last = answer
        stop = self._clock.tick(terminated=success or failed)
        return Outcome(
            observation=answer.text,
            reward=reward,
            terminated=success or failed,
            success=success,
            stop=stop,
            valid=was_carried_out(answer.text),
            admissible=() if stop and self._world.admissible == "all" else self._admissible(),
        )

    def valid_actions(self) -> tuple[str, ...]:
        """Every command that would do something now, hundreds to thousands; the digits while the
        simulator asks which of several things was meant."""
        return self._ask(self._current(), lambda simulator: simulator.valid_actions())

    async def close(self) -> None:
        self._episode = None
        if self._seat is not None:
            self._seat.give_back()
            self._seat = None

    def _current(self) -> _Episode:
        if self._world.closed:
            raise RuntimeError("this ScienceWorld is closed; make another one")
        if self._episode is None:
            raise RuntimeError("this episode is over or never began; call reset before step")
        return self._episode

    def _ask(self, episode: _Episode, question: Callable[[Simulator], _T]) -> _T:
        """Ask the simulator, in another Java if the one of this episode is gone."""
        try:
            if self._seat is not None:
                try:
                    return question(self._seat.simulator)
                except JavaGoneError:
                    self._seat = None
            return question(self._return_to(episode).simulator)
        except JavaError:
            self._episode = None
            raise

    def _admissible(self) -> tuple[str, ...] | None:
        return self.valid_actions() if self._world.admissible == "all" else None

    def _take_seat(self) -> Seat:
        if self._world.closed or self._seat is None or not self._seat.alive:
            self._seat = self._world.seat()
        return self._seat

    def _return_to(self, episode: _Episode) -> Seat:
        """Play the episode again, in a Java that lives. Raises `JavaError` if it comes out
        otherwise."""
        seat = self._take_seat()
        _, answer = seat.simulator.load(episode.lesson)
        for command in episode.commands:
            answer = seat.simulator.step(command)
        if answer.score != episode.last.score:
            raise JavaError(f"{episode.lesson} could not be played again after Java was replaced")
        return seat


__all__ = ["ADMISSIBLE", "AMBIGUOUS", "ScienceWorld", "ScienceWorldEnv"]
