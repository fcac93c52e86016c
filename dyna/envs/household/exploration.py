"""Ways to act that teach a world model: noise, impossible commands, and near misses of the goal.

A model that has seen only good play takes "wrong thing, right place" for a win, and the policy
finds out. So explorers do wrong things on purpose, next to right ones. They read the transcript
alone; a choice depends on `context.seed` (a turn's) or on the episode's id, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from random import Random

from dyna.envs.household.house import Family
from dyna.envs.household.transcript import Belief, StatedGoal, kind_of, reach, read_transcript
from dyna.envs.household.vocabulary import Process, Property, Vocabulary
from dyna.seeding import derive_seed
from dyna.types import Context

_VERB_WEIGHTS = {"take": 4, "move": 4, "go": 2}
"""The commands that decide over winning are tried more often than the others."""


_FORGETTING = 0.5
"""How often one who knows the locks tries to open what is still locked."""


class Miss(StrEnum):
    """What a near miss gets wrong."""

    OBJECT = "object"
    """Another object, to where the task's object should go."""
    RECEPTACLE = "receptacle"
    """The task's object, to another receptacle."""
    PROCESS = "process"
    """The task's object, to the right place, but not cleaned, heated or cooled; or the lamp, with
    empty hands. The same as OBJECT where the task asks for no such thing."""
    OTHER_PROCESS = "other_process"
    """The task's object, to the right place, after it was heated instead of cooled, for example:
    what somebody does who has learned another kind of task. Only where the task asks for one."""
    ABSENT = "absent"
    """The task's object, reached for wherever the search for it goes by and it is not. A model
    that has read where the object shall end is quick to believe that it is there already."""


class NearMiss:
    """Misses the goal narrowly once, and then goes on as the expert does.

    In a share of the episodes (`share`), chosen with the kind of miss by the episode's id; the
    others are the expert's from the start. Example: `NearMiss(world.expert,
    vocabulary=world.vocabulary)(context)` is a command.
    """

    def __init__(
        self,
        expert: Callable[[Context], str],
        *,
        vocabulary: Vocabulary,
        share: float = 1.0,
        locks: frozenset[str] = frozenset(),
    ) -> None:
        _check_share("share", value=share)
        self.expert = expert
        self.vocabulary = vocabulary
        self.locks = locks
        self.share = share

    def __call__(self, context: Context) -> str:
        rng = Random(derive_seed(0, "near_miss", context.task.id, context.episode_id))
        if rng.random() >= self.share:
            return self.expert(context)
        belief = read_transcript(context, locks=self.locks)
        goal = belief.goal
        miss = _draw_miss(goal, rng=rng)
        if goal is not None and miss is Miss.ABSENT:
            return _reach_in_vain(context, belief, goal) or self.expert(context)
        if goal is None or belief.has_missed(goal):
            return self.expert(context)
        return self._miss(belief, goal, miss=miss, rng=rng) or self.expert(context)

    def _miss(self, belief: Belief, goal: StatedGoal, *, miss: Miss, rng: Random) -> str | None:
        """The next command towards the miss; None while the expert's serves as well."""
        if miss is Miss.PROCESS and goal.family is Family.EXAMINE_IN_LIGHT:
            return self._light(belief, goal) if belief.held is None else None
        held = belief.held
        if miss is Miss.RECEPTACLE and goal.family is not Family.EXAMINE_IN_LIGHT:
            if held is None or not goal.wants(held):
                return None
            ends = [r for r in belief.receptacles if not goal.is_target(r)]
            return self._bring(belief, held, ends=ends, rng=rng)
        if goal.family.process is not None and miss in (Miss.PROCESS, Miss.OTHER_PROCESS):
            if held is None or not goal.wants(held):
                return None
            if miss is Miss.OTHER_PROCESS:
                other = self._process_wrongly(belief, goal, held=held, rng=rng)
                if other is not None:
                    return other
            return self._bring(belief, held, ends=self._targets(belief, goal), rng=rng)
        if held is None:
            return self._take_other(belief, goal, rng=rng)
        if goal.wants(held):
            return None
        if goal.family is Family.EXAMINE_IN_LIGHT:
            return self._light(belief, goal)
        return self._bring(belief, held, ends=self._targets(belief, goal), rng=rng)

    def _process_wrongly(
        self, belief: Belief, goal: StatedGoal, *, held: str, rng: Random
    ) -> str | None:
        """Towards another process than the task's, once; None where the house has none."""
        if any(thing == held for _, thing in belief.done):
            return None
        options = [
            (process, place)
            for place in belief.receptacles
            for process in _processes(self.vocabulary, receptacle=place)
            if process is not goal.family.process
            and process.needs in _properties(self.vocabulary, thing=held)
        ]
        if not options:
            return None
        process, place = rng.choice(options)
        if belief.location != place:
            return f"go to {place}"
        return f"{process.value} {held} with {place}"

    def _targets(self, belief: Belief, goal: StatedGoal) -> list[str]:
        return [r for r in belief.receptacles if goal.is_target(r)]

    def _light(self, belief: Belief, goal: StatedGoal) -> str | None:
        for thing, place in belief.places.items():
            if goal.is_target(thing):
                return f"use {thing}" if belief.location == place else f"go to {place}"
        return None

    def _bring(self, belief: Belief, held: str, *, ends: list[str], rng: Random) -> str | None:
        fitting = [r for r in ends if self._fits(r, held)]
        if not fitting:
            return None
        end = belief.location if belief.location in fitting else rng.choice(fitting)
        return reach(belief, place=end) or f"move {held} to {end}"

    def _take_other(self, belief: Belief, goal: StatedGoal, *, rng: Random) -> str | None:
        """Take a thing that the task does not ask for but that would fit where it should end."""
        ends = self._targets(belief, goal)
        light = goal.family is Family.EXAMINE_IN_LIGHT
        if light and not any(goal.is_target(thing) for thing in belief.places):
            return None  # the expert, which looks for the lamp, would put the thing down again
        others = [
            (thing, place)
            for thing, place in belief.places.items()
            if not goal.wants(thing)
            and not goal.is_target(place)
            and _is_pickupable(self.vocabulary, thing=thing)
            and (light or any(self._fits(end, thing) for end in ends))
        ]
        if not others:
            return None
        here = [other for other in others if other[1] == belief.location]
        thing, place = rng.choice(here or others)
        return reach(belief, place=place) or f"take {thing} from {place}"

    def _fits(self, receptacle: str, thing: str) -> bool:
        return self.vocabulary.can_hold(kind_of(receptacle), object_kind=kind_of(thing))


def _draw_miss(goal: StatedGoal | None, *, rng: Random) -> Miss:
    """Half of the misses are of the kinds that a model forgives most readily."""
    with_process = goal is not None and goal.family.process is not None
    others = [Miss.OBJECT, Miss.RECEPTACLE, Miss.PROCESS, Miss.ABSENT]
    if with_process:
        readily = rng.choice([Miss.ABSENT, Miss.PROCESS, Miss.OTHER_PROCESS])
        return readily if rng.random() < 0.75 else rng.choice(others)
    return Miss.ABSENT if rng.random() < 0.5 else rng.choice(others)


def _reach_in_vain(context: Context, belief: Belief, goal: StatedGoal) -> str | None:
    """Take what is wanted from here, once, if other things are here and hands are free.

    Where nothing lies, or the lid is shut, a model needs no look-up to know that it fails.
    """
    wanted = next((name for name in goal.objects if " " in name), None)
    here = belief.location
    if wanted is None or here is None or belief.held is not None:
        return None
    command = f"take {wanted} from {here}"
    tried = any(turn.action.command == command for turn in context.turns[: context.length])
    seen_here = {thing for thing, place in belief.places.items() if place == here}
    return None if tried or not seen_here or wanted in seen_here else command


class NoisyExpert:
    """Another behavior with noise: random commands that should work, and some that cannot.

    The shares are of turns. Commands are built from what the transcript names, so no list of
    admissible commands is needed. Example: `NoisyExpert(NearMiss(world.expert,
    vocabulary=world.vocabulary, share=0.5), vocabulary=world.vocabulary)`.
    """

    def __init__(
        self,
        behavior: Callable[[Context], str],
        *,
        vocabulary: Vocabulary,
        random_share: float = 0.2,
        invalid_share: float = 0.25,
        locks: frozenset[str] = frozenset(),
    ) -> None:
        _check_share("random_share", value=random_share)
        _check_share("invalid_share", value=invalid_share)
        _check_share("random_share + invalid_share", value=random_share + invalid_share)
        self.behavior = behavior
        self.vocabulary = vocabulary
        self.locks = locks
        self.random_share = random_share
        self.invalid_share = invalid_share

    def __call__(self, context: Context) -> str:
        rng = Random(derive_seed(context.seed, "noisy_expert", context.length))
        draw = rng.random()
        if draw < self.invalid_share:
            return invalid_command(
                read_transcript(context, locks=self.locks), rng=rng, vocabulary=self.vocabulary
            )
        if draw < self.invalid_share + self.random_share:
            return plausible_command(
                read_transcript(context, locks=self.locks), rng=rng, vocabulary=self.vocabulary
            )
        command = self.behavior(context)
        place = command.removeprefix("unlock ")
        if place != command and rng.random() < _FORGETTING and not _was_locked(context, place):
            return f"open {place}"
        return command


def _was_locked(context: Context, place: str) -> bool:
    """Whether the last answer said so."""
    turns = context.turns[: context.length]
    return bool(turns) and turns[-1].outcome.observation == f"The {place} is locked."


def plausible_command(belief: Belief, *, rng: Random, vocabulary: Vocabulary) -> str:
    """A command that should do something now, its verb drawn before what it is done to."""
    return _draw(plausible_commands(belief, vocabulary=vocabulary), rng=rng)


def plausible_commands(belief: Belief, *, vocabulary: Vocabulary) -> dict[str, list[str]]:
    """By verb, all commands that should do something as far as the transcript tells."""
    here, held = belief.location, belief.held
    commands = {
        "go": [f"go to {r}" for r in belief.receptacles if r != here and r not in belief.beside],
        "look": ["look"],
        "inventory": ["inventory"],
        "examine": [f"examine {name}" for name in (here, held) if name is not None],
        "open": [f"open {here}"] if here is not None and belief.is_closed(here) else [],
        "close": [f"close {here}"] if here is not None and belief.is_open.get(here) else [],
    }
    if here is None:
        return commands
    if belief.is_locked(here):
        commands["unlock"] = [f"unlock {here}"]
    hidden = belief.is_closed(here)
    things = belief.contents.get(here, [])
    if held is None and not hidden:
        commands["take"] = [
            f"take {thing} from {here}"
            for thing in things
            if _is_pickupable(vocabulary, thing=thing)
        ]
    if held is not None:
        if not hidden and vocabulary.can_hold(kind_of(here), object_kind=kind_of(held)):
            commands["move"] = [f"move {held} to {here}"]
        for process in _processes(vocabulary, receptacle=here):
            if process.needs in _properties(vocabulary, thing=held):
                commands[process.value] = [f"{process.value} {held} with {here}"]
    commands["use"] = [
        f"use {thing}"
        for thing in things
        if Property.TOGGLEABLE in _properties(vocabulary, thing=thing)
    ]
    return commands


def invalid_command(belief: Belief, *, rng: Random, vocabulary: Vocabulary) -> str:
    """A command of the right form and of real names that cannot work now.

    Half of the things are those that the task asks for: to reach for what is wanted where it is
    not is the mistake that pays most in a model that does not know it for one.
    """
    possible = {
        command
        for commands in plausible_commands(belief, vocabulary=vocabulary).values()
        for command in commands
    }
    places = belief.receptacles or ["shelf 1"]
    things = sorted({*belief.places, *([belief.held] if belief.held else [])}) or ["mug 1"]
    named = [thing for thing in (belief.goal.objects if belief.goal else ()) if " " in thing]
    for _ in range(100):
        place, thing, other = rng.choice(places), rng.choice(things), rng.choice(places)
        if named and rng.random() < 0.5:
            thing = rng.choice(named)
        here = belief.location or place
        forms = {
            "go": [f"go to {here}", f"go to {thing}"],
            "open": [f"open {place}", f"open {thing}"],
            "close": [f"close {place}"],
            "take": [f"take {thing} from {place}", f"take {thing} from {here}"],
            "move": [f"move {thing} to {place}", f"move {thing} to {here}"],
            "use": [f"use {thing}"],
            "process": [f"{rng.choice(list(Process)).value} {thing} with {other}"],
        }
        if belief.locks:
            forms["unlock"] = [f"unlock {place}"]
        command = _draw(forms, rng=rng)
        if command not in possible and not _may_work(belief, command):
            return command
    return "Nothing"


def _may_work(belief: Belief, command: str) -> bool:
    """Whether what the transcript does not tell could make the command work."""
    if command.startswith("go to "):
        return command[6:] != belief.location and command[6:] in belief.receptacles
    return False


def _draw(commands: dict[str, list[str]], *, rng: Random) -> str:
    verbs = [verb for verb, options in commands.items() if options]
    verb = rng.choices(verbs, [_VERB_WEIGHTS.get(verb, 1) for verb in verbs])[0]
    return rng.choice(commands[verb])


def _properties(vocabulary: Vocabulary, *, thing: str) -> frozenset[Property]:
    kind = kind_of(thing)
    return vocabulary.object(kind).properties if vocabulary.has_object(kind) else frozenset()


def _is_pickupable(vocabulary: Vocabulary, *, thing: str) -> bool:
    return Property.PICKUPABLE in _properties(vocabulary, thing=thing)


def _processes(vocabulary: Vocabulary, *, receptacle: str) -> list[Process]:
    kind = kind_of(receptacle)
    known = vocabulary.has_receptacle(kind)
    return sorted(vocabulary.receptacle(kind).processes) if known else []


def _check_share(name: str, *, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
