"""Gymnasium's toy-text environments in words: what is seen, what can be done, what is asked for.

They are called toy text and show numbers. These are also the examples to write others after.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium

from dyna.envs.gymnasium.seen import Describe, Seen

MOVES = ("go left", "go down", "go right", "go up")
SQUARES = {"S": "the start", "F": "ice", "H": "a hole", "G": "the goal"}
PLACES = ("Red", "Green", "Yellow", "Blue")
WALK_REWARD = -1.0
FALL_REWARD = -100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """All that a `GymnasiumWorld` needs to know of an environment that speaks in numbers."""

    describe: Describe
    commands: tuple[str, ...]
    """In the order of the discrete actions."""
    goal: Callable[[Any], str]
    """What the first message asks for; given the unwrapped environment."""
    success_reward: float
    """A terminated episode is won if its last reward is at least this."""
    is_random: Callable[[Any], bool]
    """Whether the unwrapped environment draws anything after its start."""


def describe_frozen_lake(seen: Seen, *, env: gymnasium.Env[Any, Any]) -> str:
    lake: Any = env.unwrapped
    rows = ["".join(cell.decode() for cell in row) for row in lake.desc]
    row, column = divmod(int(seen.observation), len(rows[0]))
    square = rows[row][column]
    if square == "H":
        return "You fall into a hole."
    if square == "G":
        return "You reach the goal."
    here = f"You are at row {row + 1}, column {column + 1}, on {SQUARES[square]}."
    if seen.reward is not None:
        return here
    legend = "The map, top row first (S start, F ice, H hole, G goal):"
    return "\n".join([legend, *rows, here])


def frozen_lake_goal(lake: Any) -> str:
    goal = "Walk over the frozen lake to the goal without falling into a hole."
    slides = " The ice is slippery: you may slide to the side." if is_slippery_lake(lake) else ""
    return goal + slides


def is_slippery_lake(lake: Any) -> bool:
    """Whether any move has more than one outcome; the lake keeps only its table of moves."""
    return any(len(ways) > 1 for moves in lake.P.values() for ways in moves.values())


def describe_taxi(seen: Seen, *, env: gymnasium.Env[Any, Any]) -> str:
    taxi: Any = env.unwrapped
    row, column, passenger, destination = map(int, taxi.decode(int(seen.observation)))
    places = [f"{name} (row {at[0] + 1}, column {at[1] + 1})" for name, at in _places(taxi)]
    rides = passenger == len(PLACES)
    waits = "is in the taxi" if rides else f"waits at {places[passenger]}"
    lines = [
        f"The taxi is at row {row + 1}, column {column + 1}.",
        f"The passenger {waits} and wants to go to {places[destination]}.",
    ]
    if seen.terminated:
        return f"The passenger gets out at {places[destination]}."
    if seen.reward is not None:
        return " ".join(lines)
    rows = [b"".join(line).decode() for line in taxi.desc]
    legend = "The map, top row first (`|` is a wall, `:` is open):"
    return "\n".join([legend, *rows, " ".join(lines)])


def _places(taxi: Any) -> list[tuple[str, tuple[int, int]]]:
    return list(zip(PLACES, taxi.locs, strict=True))


def is_random_taxi(taxi: Any) -> bool:
    rainy = any(len(ways) > 1 for moves in taxi.P.values() for ways in moves.values())
    return bool(taxi.fickle_passenger) or rainy


def describe_cliff(seen: Seen, *, env: gymnasium.Env[Any, Any]) -> str:
    cliff: Any = env.unwrapped
    num_rows, num_columns = cliff.shape
    row, column = divmod(int(seen.observation), num_columns)
    here = f"You are at row {row + 1}, column {column + 1}."
    if seen.terminated:
        return "You reach the goal."
    if seen.reward is None:
        return (
            f"The field has {num_rows} rows, the top one first, and {num_columns} columns. {here}"
        )
    if seen.reward <= FALL_REWARD:
        return f"You fall off the cliff and are carried back to the start. {here}"
    return here


def cliff_goal(cliff: Any) -> str:
    row, column = cliff.shape
    goal = (
        f"Walk to the goal at row {row}, column {column}. The cliff runs along row {row} from "
        f"column 2 to column {column - 1}."
    )
    slides = " The ground is slippery: you may slide to the side." if cliff.is_slippery else ""
    return goal + slides


def describe_blackjack(seen: Seen, *, env: gymnasium.Env[Any, Any]) -> str:
    table: Any = env.unwrapped
    total, shown, has_usable_ace = map(int, seen.observation)
    ace = ", an ace counting 11 among them" if has_usable_ace else ""
    yours = f"Your cards sum to {total}{ace}."
    if not seen.terminated:
        return f"{yours} The dealer shows {'an ace' if shown == 1 else shown}."
    if total > 21:
        return f"{yours} You are bust."
    reward = seen.reward or 0.0
    result = "You win." if reward > 0 else "You lose." if reward < 0 else "It is a draw."
    return f"{yours} The dealer's cards sum to {_sum(table.dealer)}. {result}"


def _sum(hand: list[int]) -> int:
    """An ace counts 11 where that does not bust."""
    total = int(sum(hand))
    return total + 10 if 1 in hand and total + 10 <= 21 else total


RENDERINGS: dict[str, Rendering] = {
    "FrozenLakeEnv": Rendering(
        describe=describe_frozen_lake,
        commands=MOVES,
        goal=frozen_lake_goal,
        success_reward=1.0,
        is_random=is_slippery_lake,
    ),
    "TaxiEnv": Rendering(
        describe=describe_taxi,
        commands=("go down", "go up", "go right", "go left", "pick up", "drop off"),
        goal=lambda _: "Bring the passenger to where they want to go.",
        success_reward=20.0,
        is_random=is_random_taxi,
    ),
    "CliffWalkingEnv": Rendering(
        describe=describe_cliff,
        commands=("go up", "go right", "go down", "go left"),
        goal=cliff_goal,
        success_reward=WALK_REWARD,
        is_random=lambda cliff: bool(cliff.is_slippery),
    ),
    "BlackjackEnv": Rendering(
        describe=describe_blackjack,
        commands=("stick", "hit"),
        goal=lambda _: (
            "Come closer to 21 than the dealer, and not over it. `hit` takes a card; `stick` ends "
            "your turn."
        ),
        success_reward=1.0,
        is_random=lambda _: True,
    ),
}
"""By the class of the unwrapped environment, so that every version and id of it is covered."""


def rendering_of(env: gymnasium.Env[Any, Any]) -> Rendering | None:
    """The words that ship for this environment; None where there are none."""
    kind = type(env.unwrapped)
    if not kind.__module__.startswith("gymnasium.envs.toy_text."):
        return None
    return RENDERINGS.get(kind.__name__)


__all__ = ["RENDERINGS", "Rendering", "rendering_of"]
