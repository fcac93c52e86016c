"""Planning problems read as houses; the engine itself is compared in `tests/differential`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dyna.envs.alfworld import ProblemError, read_problem
from dyna.envs.household import ALFWORLD, Family, House, HouseSpec, generate_house
from dyna.envs.household.pddl import write_problem


def house(family: Family, *, naming: str, seed: int = 0) -> House:
    spec = HouseSpec(num_receptacles=0, num_objects=0, families=[family.value], goal_naming=naming)
    return generate_house(seed, spec=spec, vocabulary=ALFWORLD)


PROBLEM = write_problem(house(Family.CLEAN, naming="kind"))


@pytest.mark.parametrize("naming", ["kind", "instance"])
@pytest.mark.parametrize("family", list(Family))
def test_a_house_comes_back_from_its_problem_as_it_was(family: Family, naming: str) -> None:
    for seed in range(8):
        made = house(family, naming=naming, seed=seed)
        number = {"kitchen": 7, "livingroom": 227, "bedroom": 301, "bathroom": 430}[made.room]
        read = read_problem(write_problem(made), task=made.goal.text, scene=f"FloorPlan{number}")
        assert (read.room, read.goal, read.fits) == (made.room, made.goal, made.fits)
        # Places are numbered as they sort, so compare who stands together, not the numbers.
        spots = [r.location for r in read.receptacles]
        assert [replace(r, location=0) for r in read.receptacles] == [
            replace(r, location=0) for r in made.receptacles
        ]
        assert len(set(spots)) == len(spots) and read.start_location not in spots
        assert [replace(o, location=None) for o in read.objects] == [
            replace(o, location=None) for o in made.objects
        ]
        for thing in read.objects:
            assert thing.location in [spots[r] for r in thing.receptacles]


def test_instances_are_numbered_from_the_back_and_basins_are_basins() -> None:
    problem = """(define (problem p) (:domain alfred) (:objects agent1 - agent) (:init
        (atLocation agent1 loc_bar_9)
        (receptacleType Sink_bar_1_bar_SinkBasin SinkBasinType)
        (receptacleType Shelf_bar_b ShelfType) (receptacleType Shelf_bar_a ShelfType)
        (receptacleAtLocation Sink_bar_1_bar_SinkBasin loc_bar_1)
        (receptacleAtLocation Shelf_bar_a loc_bar_2) (receptacleAtLocation Shelf_bar_b loc_bar_2)
        (objectType Mug_bar_2 MugType) (objectType Mug_bar_1 MugType) ; a remark (with brackets)
        (objectType Sink_bar_1 SinkType) (objectAtLocation Sink_bar_1 loc_bar_1)
        (pickupable Mug_bar_1) (inReceptacle Mug_bar_1 Shelf_bar_a)
        (pickupable Mug_bar_2) (inReceptacle Mug_bar_2 Sink_bar_1_bar_SinkBasin)
        (isCool Mug_bar_2) (canContain ShelfType MugType))
        (:goal (and (exists (?r - receptacle) (exists (?o - object) (and (inReceptacle ?o ?r)
        (objectType ?o MugType) (receptacleType ?r ShelfType)))))))"""
    read = read_problem(problem)
    assert [r.name for r in read.receptacles] == ["shelf 2", "shelf 1", "sinkbasin 1"]
    assert read.receptacles[0].location == read.receptacles[1].location
    assert [(o.name, o.receptacles, o.cooled) for o in read.objects] == [
        ("mug 2", (0,), False),
        ("mug 1", (2,), True),
    ]
    assert read.goal.text in ("put a mug in shelf", "put some mug on shelf")
    assert read_problem(problem, task="put it away").goal.text == "put it away"


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_problem_that_is_cut_off_is_refused(share: float) -> None:
    with pytest.raises(ProblemError, match=r"cut off|empty"):
        read_problem(PROBLEM[: int(len(PROBLEM) * share)])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(:init", "(:start", "no \\(:init"),
        ("(isClean ?o)", "(isClean ?o) (isSliced ?o)", "none of ALFWorld's six"),
        ("(isClean ?o)", "(not (isClean ?o))", "none of ALFWorld's six"),
        ("(exists (?o - object) (and", "(exists (?o - object) (or", "none of ALFWorld's six"),
        ("(isClean ?o)", "", "none of ALFWorld's six"),
        ("(atLocation agent1 ", "(somewhere agent1 ", "lacks something"),
        ("(receptacleAtLocation ", "(nowhere ", "no receptacle"),
        ("(objectType ", "(objectType x", "has no `_bar_`|lacks something|none of"),
    ],
)
def test_what_is_no_problem_of_alfworld_is_refused(old: str, new: str, message: str) -> None:
    assert old in PROBLEM
    with pytest.raises(ProblemError, match=message):
        read_problem(PROBLEM.replace(old, new))


@pytest.mark.parametrize("text", ["", " ", "()", "\x00", "(:init (:goal", "(" * 100_000 + ")" * 9])
def test_text_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(ProblemError):
        read_problem(text)
