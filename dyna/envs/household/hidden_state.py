"""A game's whole state in the words of its observations, for the world model alone.

A model that reads "The cabinet 1 is closed. In it, you see a mug 1." has only to copy when the
agent opens the cabinet. The goal is told as the event that ends the game, for the same reason.
"""

from __future__ import annotations

from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.house import Family, Goal, GoalNaming
from dyna.envs.household.tables import list_names


def describe_hidden_state(game: HouseholdGame) -> str:
    """One sentence or two per receptacle, what is held, states that are not as made, the goal."""
    lines = [_receptacle(game, i) for i in range(len(game.house.receptacles))]
    held = game.held()
    if held is not None:
        lines.append(f"You are carrying: a {held}.")
    for i, thing in enumerate(game.house.objects):
        states = game.states(i)
        if states:
            lines.append(f"The {thing.name} is {' and '.join(states)}.")
    return "\n".join([*lines, describe_goal(game.house.goal)])


def describe_goal(goal: Goal) -> str:
    """The condition that ends the game, as the last event where instances are named."""
    by_kind = goal.naming is GoalNaming.KIND
    first = f"a {goal.objects[0]}" if by_kind else f"the {goal.objects[0]}"
    target = f"a {goal.target}" if by_kind else f"the {goal.target}"
    if goal.family is Family.EXAMINE_IN_LIGHT:
        event = f"You turn on {target} while you are carrying {first}."
    elif goal.family is Family.PICK_TWO and by_kind:
        event = f"You move two {goal.objects[0]} to the same {goal.target}."
    elif goal.family is Family.PICK_TWO:
        event = f"You move {first} to {target} and you move the {goal.objects[1]} to {target}."
    elif goal.family.process is not None:
        event = f"You {goal.family.process} {first} and you move it to {target}."
    else:
        event = f"You move {first} to {target}."
    return f"The task is done when: {event}"


def _receptacle(game: HouseholdGame, index: int) -> str:
    receptacle = game.house.receptacles[index]
    seen = list_names(game.contents(index))
    if not receptacle.openable:
        return f"On the {receptacle.name}, you see {seen}."
    state = "open" if game.is_open(index) else "closed"
    return f"The {receptacle.name} is {state}. In it, you see {seen}."
