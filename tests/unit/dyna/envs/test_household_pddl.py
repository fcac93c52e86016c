"""Houses written as planning problems; the engine itself is compared in `tests/differential`."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dyna.envs.household import ALFWORLD, Family, HouseSpec, generate_house
from dyna.envs.household.pddl import write_problem


@pytest.mark.parametrize("naming", ["kind", "instance"])
@pytest.mark.parametrize("family", list(Family))
def test_every_family_can_be_written(family: Family, naming: str) -> None:
    spec = HouseSpec(num_receptacles=0, num_objects=0, families=[family.value], goal_naming=naming)
    house = generate_house(0, spec=spec, vocabulary=ALFWORLD)
    problem = write_problem(house)
    assert problem.count("(") == problem.count(")")
    assert problem.count("(inReceptacle ") >= len(house.objects)
    assert problem.count("(receptacleType ") >= len(house.receptacles)


def test_a_house_that_the_engine_would_name_otherwise_is_refused() -> None:
    spec = HouseSpec(num_receptacles=0, num_objects=0)
    house = generate_house(0, spec=spec, vocabulary=ALFWORLD)
    turned = replace(house, receptacles=house.receptacles[::-1])
    with pytest.raises(ValueError, match="alphabetical order"):
        write_problem(turned)
    renamed = replace(house.receptacles[0], name=f"{house.receptacles[0].kind} 99")
    with pytest.raises(ValueError, match="99"):
        write_problem(replace(house, receptacles=(renamed, *house.receptacles[1:])))
