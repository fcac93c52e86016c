"""ScienceWorld without Java: its list of tasks, its sentences, its hidden state in words."""

from __future__ import annotations

from typing import Any

import pytest

from dyna.envs.scienceworld.hidden_state import (
    describe_goals,
    describe_shut_away,
    describe_unknowns,
)
from dyna.envs.scienceworld.task_list import (
    SPLITS,
    TASK_TYPES,
    choose_types,
    clean_simplifications,
    interleave,
)
from dyna.envs.scienceworld.text import (
    MAX_COMMAND,
    UNKNOWN,
    canonical,
    prepare,
    was_carried_out,
)

CHOICE = "Ambiguous request: Please enter the number for the action you intended (or blank ..."


def test_there_are_thirty_task_types_and_the_paper_leaves_out_seven() -> None:
    assert len(TASK_TYPES) == 30
    assert sum(kind.num_variations for kind in TASK_TYPES) == 7207
    left_out = {kind.name for kind in TASK_TYPES} - {
        k.name for k in choose_types([], preset="paper")
    }
    assert len(left_out) == 7
    assert {name.split("-")[0] for name in left_out} == {"grow", "inclined", "mendelian"}


@pytest.mark.parametrize("kind", TASK_TYPES, ids=lambda kind: kind.name)
def test_no_variation_is_in_two_splits(kind: object) -> None:
    assert isinstance(kind, type(TASK_TYPES[0]))
    variations = [index for split in SPLITS for index in kind.variations(split)]
    assert len(set(variations)) == len(variations)
    assert set(variations) <= set(range(kind.num_variations))
    assert all(kind.variations(split) for split in SPLITS)


def test_the_first_tasks_of_a_split_are_of_all_types() -> None:
    for split in SPLITS:
        first = [kind.name for kind, _ in interleave(TASK_TYPES, split=split)[:30]]
        assert first == [kind.name for kind in TASK_TYPES]


@pytest.mark.parametrize(
    ("names", "preset", "told"),
    [
        (["melted"], "all", "did you mean `melt`"),
        (["melt"], "paper", "not both"),
        ([], "papers", "preset must be one of"),
    ],
)
def test_unknown_tasks_are_refused_by_name(names: list[str], preset: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        choose_types(names, preset=preset)


@pytest.mark.parametrize("names", [7, "melt", {"melt": 1}])
def test_tasks_that_are_no_list_are_refused(names: Any) -> None:
    with pytest.raises(TypeError, match="tasks must be a list of names"):
        choose_types(names, preset="all")


def test_tasks_may_be_named_by_number() -> None:
    assert [kind.name for kind in choose_types(["4-4", "melt"], preset="all")] == [
        "melt",
        "find-animal",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("openDors", "did you mean `openDoors`"),
        ("easy,openDoors", "stands alone"),
        ("noElectricalAction", "cannot be done with noElectricalAction"),
    ],
)
def test_unfit_simplifications_are_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        clean_simplifications(text, kinds=TASK_TYPES)


def test_the_order_of_simplifications_does_not_matter() -> None:
    assert clean_simplifications(" openDoors, teleportAction", kinds=TASK_TYPES) == (
        "teleportAction,openDoors"
    )


@pytest.mark.parametrize(
    ("answer", "valid"),
    [
        ("The cupboard is now open.", True),
        ("You focus on the water.", True),
        (
            "This room is called the hallway. In it, you see: \n\ta fridge. The door is closed.",
            True,
        ),
        (UNKNOWN, False),
        ("Unknown action.  Type 'help' for a list of actions, and ...", False),
        ("", False),
        (CHOICE, None),
        ("The door is already open.", None),
        ("The sink appears broken, and can't be activated or deactivated.", None),
        ("It's not clear how to get there from here.", None),
        ("The fridge is not edible.", None),
    ],
)
def test_answers_tell_whether_a_command_was_carried_out(answer: str, valid: bool | None) -> None:
    assert was_carried_out(answer) is valid


def test_commands_that_could_harm_the_simulator_do_not_reach_it() -> None:
    assert prepare("  open \n\t door ") == "open door"
    assert prepare("x" * MAX_COMMAND) == "x" * MAX_COMMAND
    assert prepare("x" * (MAX_COMMAND + 1)) is None
    assert prepare("look\x00around") is None
    assert prepare("look \ud800") is None


def test_canonical_text_sorts_lists_and_nothing_else() -> None:
    one = (
        "In it, you see:\n\ta table. On the table is: a jug, a bowl (containing pears, an apple).\n"
        "\ta chair\nYou also see:\n\tA door to b\n\tA door to a"
    )
    other = (
        "In it, you see:\n\ta chair\n\ta table. On the table is: a bowl (containing an apple, "
        "pears), a jug.\nYou also see:\n\tA door to a\n\tA door to b"
    )
    assert one != other
    assert canonical(one) == canonical(other)
    assert canonical(canonical(one)) == canonical(one)
    assert sorted(canonical(one)) == sorted(one)
    assert canonical("You move to the kitchen.") == "You move to the kitchen."


def test_numbered_choices_keep_their_numbers() -> None:
    text = "Please enter the number:\n0:\tfocus on cup\n1:\tfocus on bowl\n"
    assert canonical(text) == text


def test_goals_are_told_with_their_progress() -> None:
    progress = (
        "Completed keys: \n----\nSequential Subgoals:\n----\n"
        "0\ttrue\t      GoalFind\tfocus on substance\n1\tfalse\t  GoalBoil\tboil it\n----\n"
        "Unordered and Optional Subgoals:\n----\n0\tfalse\t  GoalInRoom\tbe in the kitchen\n"
    )
    assert describe_goals(progress) == [
        "Goals, in this order:\n- focus on substance (done)\n- boil it",
        "Goals that help:\n- be in the kitchen",
    ]


def test_closed_things_and_unknown_substances_are_told() -> None:
    metal = {"stateOfMatter": "solid", "meltingPoint": 1000.0, "electricallyConductive": True}
    shut = {"isClosable": True, "isOpen": False}
    cup = {"name": "cup", "contents": {"b": {"name": "milk"}, "a": {"name": "terminal 1"}}}
    fridge = {"name": "fridge", "propContainer": shut, "contents": {"cup": cup}}
    strange = {"name": "unknown substance B", "propMaterial": metal}
    kitchen = {"name": "kitchen", "contents": {"f": fridge, "s": strange}}
    tree = {"name": "universe", "contents": {"k": kitchen, "sewer": {"name": "sewer"}}}
    assert describe_shut_away(tree, rooms=["kitchen"]) == [
        "Inside closed things:\n- fridge (kitchen): cup (containing milk)"
    ]
    assert describe_unknowns(tree) == [
        "Unknown substances:\n- unknown substance B: solid, melts at 1000.0 degrees celsius, "
        "conducts electricity"
    ]
