"""The household beside the real ALFWorld engine: every sentence, every list, every ending.

Houses of full size are written as the engine's own games and played in both, with random, expert
and impossible commands. Needs the `alfworld` extra, and skips, saying so, without it.
"""

# The real engine is an extra.
# pyright: reportMissingImports=false

from __future__ import annotations

import json
import logging
import os
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dyna.envs.household import (
    ALFWORLD,
    Expert,
    Family,
    HouseholdGame,
    HouseSpec,
    generate_house,
)
from dyna.envs.household.pddl import write_problem
from dyna.types import Action, Context, Outcome, Start, Task, Turn

pytest.importorskip("alfworld", reason="the alfworld extra is not installed")

LOG = logging.getLogger(__name__)
GAMES_PER_FAMILY = int(os.environ.get("DYNA_DIFFERENTIAL_GAMES", "1"))
NUM_RANDOM_STEPS = 45
EXPERT = Expert(ALFWORLD)
TASK = Task(id="differential", world="household", family="", split="train")
RARE = re.compile(r"(slice|use|clean|heat|cool) |examine .* \d|take (butter)?knife ")
IMPOSSIBLE = ("sing a song", "take", "go to", "open", "use  ", "examine nothing 1", "Look", "")


def squash(text: str) -> str:
    """The engine's blanks are those of its grammar: doubled, and before stops."""
    return re.sub(r"\s+", " ", text).replace(" .", ".").replace(" ,", ",").strip()


class RealGame:
    """One game of the real engine."""

    def __init__(self, house: Any, *, folder: Path) -> None:
        import textworld
        from alfworld.agents.environment.alfred_tw_env import AlfredDemangler, AlfredInfos
        from alfworld.info import ALFRED_PDDL_PATH, ALFRED_TWL2_PATH
        from textworld.envs import PddlEnv

        grammar = Path(ALFRED_TWL2_PATH).read_text().replace("UNKNOWN GOAL", house.goal.text)
        path = folder / "game.tw-pddl"
        game = {
            "pddl_domain": Path(ALFRED_PDDL_PATH).read_text(),
            "grammar": grammar,
            "pddl_problem": write_problem(house),
            "solvable": True,
            "walkthrough": [],
        }
        path.write_text(json.dumps(game))
        infos = textworld.EnvInfos(admissible_commands=True, won=True, extras=["gamefile"])
        self.env = AlfredInfos(AlfredDemangler(PddlEnv(infos), shuffle=False))
        self.env.load(str(path))

    def reset(self) -> str:
        self.state = self.env.reset()
        return self._said()

    def step(self, command: str) -> str:
        raw = {squash(c): c for c in self.state.admissible_commands}
        self.state, _, _ = self.env.step(raw.get(command, command))
        return self._said()

    def _said(self) -> str:
        return squash(self.state.feedback).removeprefix("-= Welcome to TextWorld, ALFRED! =- ")

    def admissible(self) -> list[str]:
        return sorted({squash(c) for c in self.state.admissible_commands})


def impossible(game: HouseholdGame, *, rng: Random) -> str:
    """A command that names real things and is, most often, not possible now."""
    things = [o.name for o in game.house.objects]
    places = [r.name for r in game.house.receptacles]
    o, p, r = rng.choice(things), rng.choice(things), rng.choice(places)
    return rng.choice(
        [
            *IMPOSSIBLE,
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


def choose(game: HouseholdGame, context: Context, *, mode: str, rng: Random) -> str:
    if mode == "random":
        if rng.random() < 0.2:
            return impossible(game, rng=rng)
        commands = game.admissible()
        rare = [c for c in commands if RARE.match(c)]
        if rare and rng.random() < 0.5:
            return rng.choice(rare)
        telling = [c for c in commands if not c.startswith(("go to", "help"))]
        return rng.choice(telling if telling and rng.random() < 0.6 else commands)
    if rng.random() < 0.15:
        return impossible(game, rng=rng)
    return EXPERT(context)


@pytest.mark.parametrize("naming", ["kind", "instance"])
@pytest.mark.parametrize("family", list(Family))
def test_every_answer_is_that_of_the_real_engine(
    family: Family, naming: str, tmp_path: Path
) -> None:
    for number in range(GAMES_PER_FAMILY):
        spec = HouseSpec(
            num_receptacles=0, num_objects=0, families=[family.value], goal_naming=naming
        )
        house = generate_house(1000 + number, spec=spec, vocabulary=ALFWORLD)
        ours, real = HouseholdGame(house), RealGame(house, folder=tmp_path)
        num_steps = 0
        for mode, limit in (("random", NUM_RANDOM_STEPS), ("expert", 60)):
            rng = Random(number)
            first = ours.reset()
            assert squash(first) == real.reset()
            assert ours.admissible() == real.admissible()
            turns: list[Turn] = []
            start = Start(observation=first)
            for _ in range(limit):
                context = Context(task=TASK, start=start, turns=turns, length=len(turns))
                command = choose(ours, context, mode=mode, rng=rng)
                observation, won, _ = ours.step(command)
                num_steps += 1
                where = f"{house.goal.text!r}, step {len(turns)}: {command!r}"
                assert squash(observation) == real.step(command), where
                assert won == real.state.won, where
                assert ours.admissible() == real.admissible(), where
                turns.append(
                    Turn(action=Action(command=command), outcome=Outcome(observation=observation))
                )
                if won and mode == "expert":
                    break
        LOG.info("%s %s %d: %d steps equal", family.value, naming, number, num_steps)
        assert ours.won, "the expert did not win"
