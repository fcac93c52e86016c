"""Exercises in looking things up, over arbitrary names in arbitrary roles.

A tiny model that starts from random weights cannot copy what its context says of a name, and
seconds of such exercises teach it, where household text alone takes hours. Names of every world may
occur here, since nothing in an exercise says what a name is: any may hold any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from dyna.envs.household.alfworld_vocabulary import ALFWORLD
from dyna.envs.household.tables import list_names
from dyna.rendering import Renderer
from dyna.types import (
    Action,
    Outcome,
    Start,
    StopReason,
    Task,
    TrainingSample,
    Trajectory,
    Turn,
)

Exercise = Callable[[Renderer, Sequence[str], Random], TrainingSample]


def copying(renderer: Renderer, names: Sequence[str], rng: Random) -> TrainingSample:
    """A list of names, then the same list."""
    text = " ".join(rng.sample(names, rng.randint(6, 16)))
    return _recitation(renderer, text, [(text, 1)])


def pairs(renderer: Renderer, names: Sequence[str], rng: Random) -> TrainingSample:
    """Pairs of names, then the same pairs in another order; the second of each is trained."""
    num = rng.randint(4, 9)
    drawn = rng.sample(names, 2 * num)
    lines = [f"{a} {b}. " for a, b in zip(drawn[:num], drawn[num:], strict=True)]
    again = rng.sample(lines, num)
    return _recitation(renderer, "".join(lines), [(line, 1) for line in again])


def places(renderer: Renderer, names: Sequence[str], rng: Random) -> TrainingSample:
    """What lies where, then again in another order; what follows each place is trained."""
    scene = _Scene(names, rng)
    lines = {place: scene.line(place) + " " for place in scene.places}
    again = rng.sample(scene.places, len(scene.places))
    first = "".join(lines[place] for place in scene.places)
    return _recitation(renderer, first, [(lines[p], _after(renderer, lines[p], p)) for p in again])


def changes(renderer: Renderer, names: Sequence[str], rng: Random) -> TrainingSample:
    """Questions about places and things while things move; one of the moves is announced.

    The announced event is met often, and so are events that share only its thing or its place.
    """
    scene = _Scene(names, rng)
    thing, goal = _announce(scene, rng)
    told = _TOLD.format(thing, goal)
    opening = "\n".join([*(scene.line(place) for place in scene.places), told])
    return _dialog(
        renderer, opening, [_change(scene, rng, thing=thing, goal=goal) for _ in range(12)]
    )


def verdicts(renderer: Renderer, names: Sequence[str], rng: Random) -> TrainingSample:
    """Moves alone, most of them near misses of the one that is announced."""
    scene = _Scene(names, rng)
    thing, goal = _announce(scene, rng)
    turns = [_attempt(scene, rng, thing=thing, goal=goal) for _ in range(rng.randint(8, 16))]
    return _dialog(renderer, _TOLD.format(thing, goal), turns)


_TOLD = "The task is done when: You move the {} to the {}."


def _dialog(renderer: Renderer, opening: str, turns: Sequence[Turn]) -> TrainingSample:
    ends = [index for index, turn in enumerate(turns, 1) if turn.outcome.terminated]
    trajectory = Trajectory(
        id="exercise",
        task=Task(id="exercise", world="exercise", family="changes", split="train"),
        start=Start(observation=opening),
        turns=tuple(turns[: ends[0]] if ends else turns),
        stop=StopReason.STEP_LIMIT,
    )
    sample = renderer.model_sample(trajectory, use_hidden_state=False)
    if sample is None:
        raise ValueError(f"an exercise must fit {renderer.max_context} tokens")
    return sample


class _Scene:
    """Some names are places, the others lie in them."""

    def __init__(self, names: Sequence[str], rng: Random) -> None:
        drawn = rng.sample(names, rng.randint(7, 12))
        num_places = rng.randint(3, 6)
        self.places, self.things = drawn[:num_places], drawn[num_places:]
        self.where = {thing: rng.choice(self.places) for thing in self.things}
        self._closed = {place for place in self.places if rng.random() < 0.5}

    def exchange(self, thing: str, place: str) -> None:
        """Thing and place take each other's role."""
        self.things[self.things.index(thing)] = place
        self.places[self.places.index(place)] = thing
        self._closed = {thing if name == place else name for name in self._closed}
        renamed = {thing: place, place: thing}
        self.where = {renamed.get(t, t): renamed.get(p, p) for t, p in self.where.items()}

    def line(self, place: str) -> str:
        inside = list_names(thing for thing in self.things if self.where[thing] == place)
        if place in self._closed:
            return f"The {place} is closed. In it, you see {inside}."
        return f"On the {place}, you see {inside}."


def _change(scene: _Scene, rng: Random, *, thing: str, goal: str) -> Turn:
    kind = rng.random()
    if kind < 0.35:
        return _take(scene, rng, thing=thing)
    if kind < 0.6:
        place = rng.choice(scene.places)
        return _turn(place, scene.line(place))
    return _attempt(scene, rng, thing=thing, goal=goal)


def _take(scene: _Scene, rng: Random, *, thing: str) -> Turn:
    """Reach for something where it is, or where it is not; often for what the end is about."""
    wanted = thing if rng.random() < 0.4 else rng.choice(scene.things)
    place = scene.where[wanted] if rng.random() < 0.5 else rng.choice(scene.places)
    if _is_household(wanted, place):
        return _turn(place, scene.line(place))
    command = f"take {wanted} from {place}"
    if scene.where[wanted] == place:
        return _turn(command, f"You pick up the {wanted} from the {place}.")
    return _turn(command, "Nothing happens.")


def _attempt(scene: _Scene, rng: Random, *, thing: str, goal: str) -> Turn:
    kind = rng.random()
    moved = thing if kind < 0.5 else rng.choice(scene.things)
    place = goal if kind < 0.12 or kind > 0.65 else rng.choice(scene.places)
    if _is_household(moved, place):
        moved, place = thing, goal
    scene.where[moved] = place
    said = f"You move the {moved} to the {place}."
    return _turn(f"move {moved} to {place}", said, done=(moved, place) == (thing, goal))


def _announce(scene: _Scene, rng: Random) -> tuple[str, str]:
    """A thing and the place it is to be brought to, never such as could be a household's task."""
    thing, place = rng.choice(scene.things), rng.choice(scene.places)
    if _is_household(thing, place):
        # The other way round it is none.
        scene.exchange(thing, place)
        return place, thing
    return thing, place


def _is_household(thing: str, place: str) -> bool:
    """Whether ALFWorld could ask to bring `thing` to `place`."""
    return ALFWORLD.has_object(thing.split()[0]) and ALFWORLD.has_receptacle(place.split()[0])


def _turn(command: str, observation: str, *, done: bool = False) -> Turn:
    outcome = Outcome(observation=observation, reward=float(done), terminated=done, success=done)
    return Turn(action=Action(command=command), outcome=outcome)


def _after(renderer: Renderer, line: str, name: str) -> int:
    """How many tokens of `line` end with `name`."""
    return renderer.encode(line).index(renderer.encode(name)[0]) + 1


def _recitation(
    renderer: Renderer, read: str, recited: Sequence[tuple[str, int]]
) -> TrainingSample:
    """`read`, then lines of which the first tokens, as many as said, are given and not trained."""
    tokens = list(renderer.encode(read))
    weights = [0.0] * len(tokens)
    for line, num_given in recited:
        ids = renderer.encode(line)
        tokens += ids
        weights += [0.0] * num_given + [1.0] * (len(ids) - num_given)
    return TrainingSample(token_ids=tuple(tokens), ce=tuple(weights))


LOOKUP: tuple[Exercise, ...] = (copying, pairs, places, places)
"""Teach to look up; the first phase of training."""
ALL: tuple[Exercise, ...] = (*LOOKUP, changes, changes, verdicts, verdicts)
