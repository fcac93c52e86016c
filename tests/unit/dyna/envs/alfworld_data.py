"""Small data in ALFWorld's own forms, made of generated houses: a folder, and packed lines."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

from dyna.envs.alfworld.games import FAMILIES
from dyna.envs.household import ALFWORLD, HouseSpec, generate_house
from dyna.envs.household.pddl import write_problem

NAMES = {family: name for name, family in FAMILIES.items()}


def row(number: int, *, split: str = "train", **changes: Any) -> dict[str, Any]:
    """One game, of the family that follows from its number."""
    family = list(NAMES)[number % len(NAMES)]
    spec = HouseSpec(num_receptacles=0, num_objects=0, families=[family.value], goal_naming="kind")
    house = generate_house(number, spec=spec, vocabulary=ALFWORLD)
    kind, end = (word.capitalize() for word in (house.goal.objects[0], house.goal.target))
    plan = {"kitchen": 1, "livingroom": 201, "bedroom": 301, "bathroom": 401}[house.room]
    game = {
        "id": f"{NAMES[family]}-{kind}-None-{end}-{plan}/trial_T{number:06d}",
        "split": split,
        "desc": f"{house.goal.text}.",
        "solvable": True,
        "agentgym_train": None,
        "agentgym_test": None,
        "problem": write_problem(house, name=f"plan_trial_{number}"),
    }
    return game | changes


def rows() -> list[dict[str, Any]]:
    """12 games to train on, one of them flagged, and 6 of each other split."""
    games = [row(n, agentgym_train=11 - n, solvable=n != 5) for n in range(12)]
    games += [row(n, split="valid_seen") for n in range(12, 18)]
    games += [row(n, split="valid_unseen") for n in range(18, 24)]
    games += [row(n, split="valid_train", agentgym_test=n) for n in range(24, 30)]
    return games


def write_pack(path: Path, *, games: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(game) + "\n" for game in games).encode()
    path.write_bytes(lzma.compress(text) if path.suffix == ".xz" else text)
    return path


def write_folder(path: Path, *, games: list[dict[str, Any]], with_game_files: bool = True) -> Path:
    """`path`, with a `json_2.1.1` in it as the downloader leaves it."""
    for game in games:
        folder = path / "json_2.1.1" / game["split"] / game["id"]
        folder.mkdir(parents=True)
        (folder / "initial_state.pddl").write_text(game["problem"])
        (folder / "traj_data.json").write_text(json.dumps({"task_type": "..."}))
        if with_game_files:
            words = json.dumps(f"Your task is to: {game['desc']}")
            grammar = '{"task": [{"rhs": ' + words + '}], "x": [{"rhs": "You put it."}]}'
            content = {
                "pddl_domain": "(an old one, with put)",
                "grammar": f'grammar :: """{grammar}""";',
                "pddl_problem": game["problem"],
                "solvable": game["solvable"],
                "walkthrough": [],
            }
            (folder / "game.tw-pddl").write_text(json.dumps(content))
    return path
