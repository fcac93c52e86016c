"""Episodes in invented households, played by mixed company, in the agent's view and the model's.

Those who play search, blunder, and come close: the right thing to the wrong place, the wrong thing
to the right place. A model that takes a near miss for a win would be found out by the policy.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from dyna.envs.household.expert import Expert, SearchOrder
from dyna.envs.household.game import HouseholdGame
from dyna.envs.household.generator import HouseSpec, generate_house
from dyna.envs.household.hidden_state import describe_hidden_state
from dyna.envs.household.house import Family, House
from dyna.types import Action, Context, Outcome, Start, StopReason, Task, Trajectory, Turn
from experiments.base_model.vocabularies import invent

MAX_TURNS = 20
_FAMILIES = (
    *(Family.PICK_AND_PLACE,) * 8,
    *(Family.CLEAN, Family.HEAT, Family.COOL, Family.PICK_TWO, Family.EXAMINE_IN_LIGHT),
)


class Company:
    """One who plays: an expert who errs with probability `noise`, perhaps after the wrong goal.

    With probability `grasp` a turn is spent on taking, from among other things, one that is not
    there: to know better, a model must look through a list and not find it.
    """

    def __init__(self, expert: Expert, house: House, rng: Random, *, grasp: float) -> None:
        self._expert = expert
        self._rng = rng
        self._noise = rng.choice([0.1, 0.3, 0.5, 0.7, 1.0])
        self._names = [r.name for r in house.receptacles], [o.name for o in house.objects]
        self._wanted = house.goal.objects[0]
        self._grasp = grasp
        self._decoy = _decoy(house, rng) if rng.random() < 0.35 else ""

    def command(self, context: Context, game: HouseholdGame) -> str:
        # Without grasping no number is drawn for it, so that the first stage stays what it was.
        if self._grasp and self._rng.random() < self._grasp:
            command = self._reach_in_vain(context, game)
            if command:
                return command
        if self._rng.random() < self._noise:
            return self._blunder(context, game)
        if self._decoy:
            said = context.turns[context.length - 1].outcome.observation if context.length else ""
            if said == self._decoy:
                self._decoy = ""
            else:
                return self._expert(_towards(context, self._decoy))
        return self._expert(context)

    def _reach_in_vain(self, context: Context, game: HouseholdGame) -> str:
        """Take something from here that is not among what lies here; empty where nothing lies."""
        here = _here(context)
        if not here or game.held():
            return ""
        index = self._names[0].index(here)
        inside = game.contents(index) if game.is_open(index) else []
        absent = [name for name in self._names[1] if name not in inside]
        if not inside or not absent:
            return ""
        wanted = self._wanted in absent and self._rng.random() < 0.6
        return f"take {self._wanted if wanted else self._rng.choice(absent)} from {here}"

    def _blunder(self, context: Context, game: HouseholdGame) -> str:
        """Any command that can be carried out, or one that is plausible and mostly cannot."""
        if self._rng.random() < 0.5:
            if self._rng.random() < 0.1:
                return self._rng.choice(["look", "inventory"])
            useful = [c for c in game.admissible() if c not in ("look", "help", "inventory")]
            travel = [c for c in useful if c.startswith("go to")]
            acts = [c for c in useful if not c.startswith(("go to", "examine"))]
            return self._rng.choice(acts if acts and self._rng.random() < 0.6 else travel or useful)
        place, thing = (self._rng.choice(names) for names in self._names)
        # To reach for what is wanted where it is not is the mistake that is found out last.
        if self._rng.random() < 0.4:
            thing = self._wanted
        elif self._rng.random() < 0.4:
            thing = game.held() or thing
        if self._rng.random() < 0.5:
            place = _here(context) or place
        return self._rng.choice(
            [
                f"go to {place}",
                f"open {place}",
                f"close {place}",
                f"take {thing} from {place}",
                f"take {thing} from {place}",
                f"move {thing} to {place}",
                f"move {thing} to {place}",
                f"{self._rng.choice(['clean', 'heat', 'cool'])} {thing} with {place}",
            ]
        )


def _here(context: Context) -> str:
    """Where the agent went last; empty before it went anywhere."""
    for turn in reversed(context.turns[: context.length]):
        if turn.outcome.valid and turn.action.command.startswith("go to "):
            return turn.action.command.removeprefix("go to ")
    return ""


def _decoy(house: House, rng: Random) -> str:
    """What will be said when a goal is met that is nearly the real one."""
    things = [o.name for o in house.objects]
    places = [r.name for r in house.receptacles]
    thing, place = house.goal.objects[0], house.goal.target
    if rng.random() < 0.5:
        thing = rng.choice([name for name in things if name != thing] or things)
    else:
        place = rng.choice([name for name in places if name != place] or places)
    return f"You move the {thing} to the {place}."


def _towards(context: Context, event: str) -> Context:
    """The context of one who was told to bring `event` about."""
    thing, place = event.removeprefix("You move the ").removesuffix(".").split(" to the ")
    scene = context.start.observation.partition("Your task is to:")[0]
    told = f"{scene}Your task is to: put {thing} in {place}."
    return replace(context, start=replace(context.start, observation=told))


def play(rng: Random, *, grasp: float = 0.0) -> Trajectory:
    """One episode in a household that nobody will see again."""
    vocabulary = invent(rng)
    spec = HouseSpec(
        num_receptacles=rng.choice([4, 5, 5, 5, 6, 7]),
        num_objects=rng.choice([3, 4, 4, 5, 6]),
        families=[rng.choice(_FAMILIES).value],
        num_layouts=0,
    )
    house = generate_house(rng.getrandbits(32), spec=spec, vocabulary=vocabulary)
    game = HouseholdGame(house)
    observation = game.reset()
    start = Start(observation=observation, hidden_state=describe_hidden_state(game))
    task = Task(
        id=f"invented/{house.content_key()}",
        world="invented",
        family=spec.families[0],
        split="train",
    )
    company = Company(Expert(vocabulary, order=SearchOrder.LISTED), house, rng, grasp=grasp)
    turns: list[Turn] = []
    won = False
    while len(turns) < MAX_TURNS and not won:
        context = Context(
            task=task, start=start, turns=turns, length=len(turns), episode_id=task.id
        )
        command = company.command(context, game)
        said, won, valid = game.step(command)
        outcome = Outcome(
            observation=said, reward=float(won), terminated=won, success=won, valid=valid
        )
        turns.append(Turn(action=Action(command=command), outcome=outcome))
    stop = StopReason.TERMINATED if won else StopReason.STEP_LIMIT
    return Trajectory(id=task.id, task=task, start=start, turns=tuple(turns), stop=stop)
