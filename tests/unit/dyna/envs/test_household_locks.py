"""A rule that may change in mid-stream: some receptacles must be unlocked before they open."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dyna.envs.household import SPLITS, Family, HouseholdGame, HouseholdWorld
from dyna.envs.household.oracle import Oracle
from dyna.testing import check_world
from tests.unit.dyna.envs.household_play import play

ALL = [family.value for family in Family]
OPENABLE = ["cabinet", "drawer", "fridge", "microwave", "safe"]


def world_of(*locked: str, size: int = 8) -> HouseholdWorld:
    return HouseholdWorld(
        families=ALL, num_receptacles=size, num_objects=6, max_turns=60, locked=locked
    )


def game_with(kind: str) -> tuple[HouseholdGame, str, list[str]]:
    """A game in which `kind` is locked, one of that kind, and all that lies in it."""
    world = world_of(kind)
    for task in world.tasks(split="train", num=200):
        game = world.game(task)
        for index, receptacle in enumerate(game.house.receptacles):
            if receptacle.kind == kind:
                return game, receptacle.name, game.contents(index)
    raise AssertionError(f"no house has a {kind}")


def test_what_is_locked_opens_only_once_it_is_unlocked() -> None:
    game, name, things = game_with("cabinet")
    assert game.step(f"unlock {name}") == ("Nothing happens.", False, False)  # far away
    assert game.step(f"go to {name}")[0] == f"You arrive at {name}. The {name} is closed."
    assert {f"open {name}", f"unlock {name}"} <= set(game.admissible())
    twin = game.clone()
    assert game.step(f"open {name}") == (f"The {name} is locked.", False, True)
    assert game.step(f"examine {name}")[0] == f"The {name} is closed."
    assert game.step(f"unlock {name}") == (f"You unlock the {name}.", False, True)
    assert game.step(f"unlock {name}")[2] is False
    said = game.step(f"open {name}")[0]
    assert said.startswith(f"You open the {name}. The {name} is open. In it, you see ")
    assert all(thing in said for thing in things)
    assert game.step(f"close {name}")[0] == f"You close the {name}."
    assert game.step(f"open {name}")[0] == said  # it does not lock again
    assert twin.step(f"open {name}")[0] == f"The {name} is locked."
    game.reset()
    game.step(f"go to {name}")
    assert game.step(f"open {name}")[0] == f"The {name} is locked."


def test_other_kinds_open_as_ever_and_cannot_be_unlocked() -> None:
    world, plain = world_of("fridge"), world_of()
    for task, old in zip(
        world.tasks(split="train", num=30), plain.tasks(split="train", num=30), strict=True
    ):
        game, before = world.game(task), plain.game(old)
        for receptacle in game.house.receptacles:
            if receptacle.openable and receptacle.kind != "fridge":
                for verb in ("go to", "unlock", "open"):
                    command = f"{verb} {receptacle.name}"
                    assert game.step(command) == before.step(command)


def test_the_rule_changes_no_house_and_no_split() -> None:
    plain, locked = world_of(), world_of(*OPENABLE)
    for split in SPLITS:
        olds, news = (w.tasks(split=split, num=50) for w in (plain, locked))
        assert [t.id for t in olds] == [t.id for t in news]
        for old, new in zip(olds, news, strict=True):
            assert plain.fingerprint(old) == locked.fingerprint(new)
            assert plain.game(old).reset() == locked.game(new).reset()


def test_a_task_carries_its_rules() -> None:
    task = world_of("cabinet", "drawer").tasks(split="train", num=1)[0]
    copy = replace(task, params=json.loads(json.dumps(task.params)))
    assert copy.params["locked"] == ["cabinet", "drawer"]
    house = HouseholdWorld().house(copy)
    assert all(r.locked == (r.kind in ("cabinet", "drawer")) for r in house.receptacles)


def test_only_what_opens_can_be_locked() -> None:
    with pytest.raises(ValueError, match=r"locked has \['shelf'\]; what opens in 'alfworld' is"):
        world_of("shelf")


def test_the_expert_unlocks_what_is_locked_and_wastes_no_turn() -> None:
    world = world_of(*OPENABLE)
    said: set[str] = set()
    for task in world.tasks(split="train", num=60):
        _, turns = play(world, task, behavior=world.expert)
        assert turns[-1].outcome.success, (task.id, turns)
        assert all(turn.outcome.valid for turn in turns)
        assert not any(turn.outcome.observation.endswith("is locked.") for turn in turns)
        said |= {turn.action.command.split()[0] for turn in turns}
    assert "unlock" in said


def test_the_oracle_unlocks_too() -> None:
    world = world_of(*OPENABLE)
    oracle = Oracle(world.game)
    for task in world.tasks(split="train", num=30):
        assert play(world, task, behavior=oracle)[1][-1].outcome.success


def test_the_explorer_runs_into_locks() -> None:
    world = world_of(*OPENABLE)
    said: list[str] = []
    for task in world.tasks(split="train", num=60):
        said += [t.outcome.observation for t in play(world, task, behavior=world.explorer)[1]]
    assert sum(text.endswith("is locked.") for text in said) >= 10
    assert sum(text.startswith("You unlock the ") for text in said) >= 10


def test_a_world_with_locks_keeps_the_contract_of_worlds() -> None:
    check_world(world_of("cabinet", "fridge"))
