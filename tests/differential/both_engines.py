"""One game in both engines, command by command: sentences, lists and endings must be equal."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

from dyna.envs.alfworld.official import OfficialEngine
from dyna.envs.household import ALFWORLD, Expert, HouseholdGame
from dyna.types import Action, Context, Outcome, Start, Task, Turn

EXPERT = Expert(ALFWORLD)
TASK = Task(id="differential", world="household", family="", split="train")
RARE = re.compile(r"(slice|use|clean|heat|cool) |examine .* \d|take (butter)?knife ")
NONSENSE = (
    "sing a song", "take", "go to", "open", "use  ", "examine nothing 1", "Look", "", "LOOK",
    "put mug 1 in shelf 1", "go to shelf 1.", "\u00e9\u4e2d", "look look", "inventory 1",
)  # fmt: skip


def impossible(game: HouseholdGame, *, rng: Random) -> str:
    """A command that names real things and is, most often, not possible now."""
    things = [o.name for o in game.house.objects]
    places = [r.name for r in game.house.receptacles]
    o, p, r = rng.choice(things), rng.choice(things), rng.choice(places)
    return rng.choice(
        [
            *NONSENSE[:: rng.randint(1, 5)],
            f"take {o} from {r}",
            f"move {o} to {r}",
            f"open {r}",
            f"close {r}",
            f"go to {o}",
            f"go to {r}",
            f"use {o}",
            f"clean {o} with {r}",
            f"heat {o} with {r}",
            f"cool {o} with {r}",
            f"slice {o} with {p}",
            f"examine {o}",
            f"examine {r}",
            f"take {o} from {p}",
        ]
    )


def wander(game: HouseholdGame, *, rng: Random) -> str:
    """A random command, one in five impossible, rare ones oftener than others."""
    if rng.random() < 0.2:
        return impossible(game, rng=rng)
    commands = game.admissible()
    rare = [c for c in commands if RARE.match(c)]
    if rare and rng.random() < 0.5:
        return rng.choice(rare)
    telling = [c for c in commands if not c.startswith(("go to", "help"))]
    return rng.choice(telling if telling and rng.random() < 0.6 else commands)


def noisy_expert(game: HouseholdGame, context: Context, *, rng: Random) -> str:
    return impossible(game, rng=rng) if rng.random() < 0.15 else EXPERT(context)


@dataclass(slots=True)
class Comparison:
    """What was compared in a game, and what was not equal."""

    num_steps: int = 0
    num_invalid: int = 0
    won: bool = False
    differences: list[str] = field(default_factory=list[str])


def compare(
    game: HouseholdGame,
    real: OfficialEngine,
    *,
    problem: str,
    seed: int,
    num_random: int,
    num_expert: int,
) -> Comparison:
    """Random commands first, then a noisy expert, who takes over where they led, until it wins."""
    result, rng, turns = Comparison(), Random(seed), list[Turn]()

    def check(what: str, ours: object, theirs: object) -> None:
        if ours != theirs:
            result.differences.append(
                f"{game.house.goal.text!r}, turn {len(turns)}, {what}: {ours!r} != {theirs!r}"
            )

    first = game.reset()
    check("first observation", first, real.load(problem, task=game.house.goal.text))
    check("first list", game.admissible(), real.admissible())
    check("won at the start", game.won, real.won)
    start = Start(observation=first)
    for number in range(num_random + num_expert):
        context = Context(task=TASK, start=start, turns=turns, length=len(turns))
        if number < num_random:
            command = wander(game, rng=rng)
        else:
            command = noisy_expert(game, context, rng=rng)
        ours, theirs = game.step(command), real.step(command)
        check(f"answer to {command!r}", ours, theirs)
        check(f"list after {command!r}", game.admissible(), real.admissible())
        result.num_steps += 1
        result.num_invalid += not ours[2]
        turns.append(Turn(action=Action(command=command), outcome=Outcome(observation=ours[0])))
        if game.won and number >= num_random:
            break
    result.won = game.won
    return result


__all__ = ["Comparison", "compare", "impossible", "noisy_expert", "wander"]
