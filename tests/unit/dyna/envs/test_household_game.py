"""The household's rules, one house at a time."""

from __future__ import annotations

from random import Random

import pytest

from dyna.envs.household import (
    ALFWORLD,
    Family,
    Goal,
    GoalNaming,
    House,
    HouseholdGame,
    HouseObject,
    HouseSpec,
    Property,
    Receptacle,
    generate_house,
)
from dyna.envs.household.benchmark import measure_steps_per_second

ALL = [family.value for family in Family]
VERBS = ("clean", "heat", "cool", "slice")


def make_house(*, seed: int, family: str = "clean", size: int = 6, naming: str = "kind") -> House:
    spec = HouseSpec(num_receptacles=size, num_objects=size, families=[family], goal_naming=naming)
    return generate_house(seed, spec=spec, vocabulary=ALFWORLD)


def small_house(*, shared_location: bool = False) -> House:
    pick = frozenset({Property.PICKUPABLE})
    return House(
        room="kitchen",
        receptacles=(
            Receptacle(name="cabinet 1", kind="cabinet", openable=True, location=0),
            Receptacle(name="shelf 1", kind="shelf", location=0 if shared_location else 1),
        ),
        objects=(
            HouseObject(
                name="apple 1", kind="apple", location=0, receptacles=(0,), properties=pick
            ),
            HouseObject(name="mug 1", kind="mug", location=0, receptacles=(0,), properties=pick),
        ),
        fits=frozenset({("shelf", "mug"), ("cabinet", "mug"), ("shelf", "apple")}),
        goal=Goal(
            family=Family.PICK_AND_PLACE,
            naming=GoalNaming.KIND,
            objects=("mug",),
            target="shelf",
            text="put a mug in shelf",
        ),
    )


def every_command(house: House) -> list[str]:
    """All that could ever be said about this house, possible or not."""
    things = [o.name for o in house.objects]
    places = [r.name for r in house.receptacles]
    commands = ["look", "inventory", "help"]
    commands += [f"{v} {n}" for v in ("go to", "open", "close", "examine") for n in places + things]
    commands += [f"use {n}" for n in places + things]
    for thing in things:
        for other in places + things:
            commands += [f"take {thing} from {other}", f"move {thing} to {other}"]
            commands += [f"{verb} {thing} with {other}" for verb in VERBS]
    return commands


def test_a_task_is_solved_in_alfworlds_sentences() -> None:
    game = HouseholdGame(small_house())
    assert game.reset() == (
        "You are in the middle of a room. Looking quickly around you, you see a cabinet 1, and "
        "a shelf 1.\n\nYour task is to: put a mug in shelf."
    )
    script = [
        (
            "look",
            "You are in the middle of a room. Looking quickly around you, you see nothing.",
        ),
        ("open cabinet 1", "Nothing happens."),
        ("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed."),
        ("take mug 1 from cabinet 1", "Nothing happens."),
        ("examine cabinet 1", "The cabinet 1 is closed."),
        (
            "open  cabinet 1 ",
            "You open the cabinet 1. The cabinet 1 is open. In it, you see a apple 1, and a mug 1.",
        ),
        ("take mug 1 from cabinet 1", "You pick up the mug 1 from the cabinet 1."),
        ("take apple 1 from cabinet 1", "Nothing happens."),
        ("inventory", "You are carrying: a mug 1."),
        ("examine mug 1", "There's nothing special about mug 1."),
        ("close cabinet 1", "You close the cabinet 1."),
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see nothing."),
    ]
    for command, answer in script:
        assert game.step(command) == (answer, False, answer != "Nothing happens.")
    assert not game.won
    assert game.step("move mug 1 to shelf 1") == (
        "You move the mug 1 to the shelf 1.",
        True,
        True,
    )


def test_look_lists_what_was_moved_between_receptacles_of_one_place() -> None:
    game = HouseholdGame(small_house(shared_location=True))
    for command in ("go to shelf 1", "open cabinet 1", "take mug 1 from cabinet 1"):
        game.step(command)
    game.step("move mug 1 to shelf 1")
    assert game.step("look")[0] == (
        "You are facing the cabinet 1, and shelf 1. Next to it, you see a mug 1."
    )


@pytest.mark.parametrize("family", ALL)
def test_admissible_commands_are_exactly_those_that_do_something(family: str) -> None:
    house = make_house(seed=3, family=family)
    game, rng = HouseholdGame(house), Random(0)
    candidates = every_command(house)
    for _ in range(25):
        admissible = game.admissible()
        assert admissible == sorted(set(admissible))
        works = {c for c in candidates if game.clone().step(c)[0] != "Nothing happens."}
        assert works == set(admissible)
        telling = [c for c in admissible if not c.startswith("go to")]
        game.step(rng.choice(telling if rng.random() < 0.6 else admissible))


def test_an_impossible_command_changes_nothing() -> None:
    house = make_house(seed=1)
    game = HouseholdGame(house)
    for command in every_command(house):
        before = game.admissible()
        _, _, valid = game.step(command)
        if not valid:
            assert game.admissible() == before


@pytest.mark.parametrize(
    "command", ["", " ", "go", "go to", "take x from", "Look", "look up", "\n"]
)
def test_garbage_is_answered_and_not_valid(command: str) -> None:
    game = HouseholdGame(small_house())
    assert game.step(command) == ("Nothing happens.", False, False)


def test_a_clone_equals_its_original_and_goes_its_own_way() -> None:
    rng = Random(0)
    game = HouseholdGame(make_house(seed=5, size=0, naming="instance"))
    for _ in range(40):
        game.step(rng.choice(game.admissible()))
    twin = game.clone()
    kept = twin.clone()
    for _ in range(40):
        command = rng.choice(game.admissible())
        assert game.step(command) == twin.step(command)
        assert game.admissible() == twin.admissible()
    assert kept.admissible() != game.admissible()


def test_a_reset_undoes_everything() -> None:
    rng = Random(0)
    game = HouseholdGame(make_house(seed=2, size=0))
    first = (game.reset(), game.admissible())
    for _ in range(60):
        game.step(rng.choice(game.admissible()))
    assert (game.reset(), game.admissible()) == first


def test_content_keys_tell_houses_apart() -> None:
    houses = [make_house(seed=seed) for seed in range(50)]
    assert len({house.content_key() for house in houses}) == len(set(houses))
    assert houses[0].content_key() == make_house(seed=0).content_key()


def test_a_house_that_names_two_things_alike_is_refused() -> None:
    with pytest.raises(ValueError, match="mug 1"):
        House(
            room="kitchen",
            receptacles=(),
            objects=(HouseObject(name="mug 1", kind="mug"), HouseObject(name="mug 1", kind="mug")),
            fits=frozenset(),
            goal=small_house().goal,
        )


def test_it_is_fast() -> None:
    # A loose floor for shared machines; ten times as much is usual.
    figures = measure_steps_per_second(num_steps=4000, num_houses=10)
    assert figures["time/steps_per_s"] > 20_000
    assert figures["time/steps_per_s_admissible"] > 10_000
