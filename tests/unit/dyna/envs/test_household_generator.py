"""Houses from seeds: what every one of them holds, and that no house is in two splits."""

from __future__ import annotations

from collections import Counter

import pytest

from dyna.envs.household import (
    ALFWORLD,
    SPLITS,
    Family,
    GoalNaming,
    House,
    HouseholdGame,
    HouseSpec,
    ObjectKind,
    ReceptacleKind,
    Vocabulary,
    generate_house,
    split_of,
)
from tests.unit.dyna.envs.household_play import invented_vocabulary

ALL = [family.value for family in Family]


def houses(spec: HouseSpec, *, num: int, split: str | None = None) -> list[House]:
    return [generate_house(i, spec=spec, vocabulary=ALFWORLD, split=split) for i in range(num)]


def test_equal_arguments_give_equal_houses() -> None:
    spec = HouseSpec(num_receptacles=0, num_objects=0, families=ALL)
    assert houses(spec, num=20) == houses(spec, num=20)


@pytest.mark.parametrize("naming", list(GoalNaming))
@pytest.mark.parametrize("size", [0, 4, 8])
def test_no_goal_holds_at_the_start(size: int, naming: str) -> None:
    spec = HouseSpec(
        num_receptacles=size,
        num_objects=size and size - 1,
        families=ALL if size != 4 else ["pick_and_place", "pick_two"],
        goal_naming=naming,
    )
    for house in houses(spec, num=100):
        assert not HouseholdGame(house).won
        assert len(house.receptacles) == size or not size
        assert house.goal.text


def test_no_house_is_in_two_splits() -> None:
    placements: dict[str, str] = {}
    layouts: dict[str, set[str]] = {split: set() for split in SPLITS}
    specs = [
        HouseSpec(num_receptacles=4, num_objects=2, rooms=["bathroom"]),
        HouseSpec(num_receptacles=4, num_objects=2, rooms=["bathroom"], num_layouts=0),
        HouseSpec(num_receptacles=5, num_objects=4, goal_naming="kind"),
    ]
    for spec in specs:
        for split in SPLITS:
            for house in houses(spec, num=500, split=split):
                assert split_of(house) == split
                assert placements.setdefault(house.placement_key(), split) == split
                layouts[split].add(house.layout_key())
    assert len(placements) > 2000
    assert not layouts["valid_unseen"] & (layouts["train"] | layouts["valid_seen"])


def test_valid_seen_has_the_layouts_of_training_with_new_placements() -> None:
    spec = HouseSpec(num_layouts=16, rooms=["kitchen"], families=["pick_and_place"])
    train = {house.layout_key() for house in houses(spec, num=300, split="train")}
    seen = {house.layout_key() for house in houses(spec, num=100, split="valid_seen")}
    assert len(train) <= 16
    assert seen <= train


def test_families_are_balanced() -> None:
    spec = HouseSpec(num_receptacles=8, num_objects=6, families=ALL)
    counts = Counter(house.goal.family for house in houses(spec, num=600))
    assert set(counts) == set(Family)
    assert min(counts.values()) > 60  # 100 expected; below 60 by chance: under 1e-5


def test_a_house_of_every_room_and_size_can_be_made() -> None:
    for room in ALFWORLD.rooms:
        for size in (4, 6, 10):
            spec = HouseSpec(num_receptacles=size, num_objects=size, rooms=[room])
            assert all(house.room == room for house in houses(spec, num=10))


def test_a_full_kitchen_has_its_tools() -> None:
    spec = HouseSpec(num_receptacles=0, num_objects=0, rooms=["kitchen"])
    for house in houses(spec, num=20):
        kinds = {receptacle.kind for receptacle in house.receptacles}
        assert {"fridge", "microwave", "sinkbasin", "stoveburner"} <= kinds
        assert len(house.receptacles) >= 18
        assert len(house.objects) >= 20


@pytest.mark.parametrize("seed", range(5))
def test_invented_words_make_houses_too(seed: int) -> None:
    vocabulary = invented_vocabulary(seed)
    spec = HouseSpec(num_receptacles=6, num_objects=6, families=ALL)
    for i in range(30):
        house = generate_house(i, spec=spec, vocabulary=vocabulary)
        game = HouseholdGame(house)
        assert not game.won
        assert {r.kind for r in house.receptacles} <= set(vocabulary.rooms["place"].receptacles)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ["clena"]}, "clena"),
        ({"families": []}, "at least one"),
        ({"goal_naming": "name"}, "goal_naming must be one of"),
        ({"num_receptacles": 1}, "num_receptacles must be 0"),
        ({"num_objects": -1}, "num_objects must be 0"),
        ({"max_per_kind": 0}, "max_per_kind must be >= 1, got 0"),
        ({"num_layouts": -1}, "num_layouts must be >= 0"),
        ({"rooms": ["cellar"]}, "cellar"),
        ({"rooms": ["bathroom"], "families": ["heat"]}, "possible in none of the rooms"),
        ({"num_receptacles": 500}, "num_receptacles must be between"),
    ],
)
def test_a_spec_that_makes_no_house_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_house(0, spec=HouseSpec(**change), vocabulary=ALFWORLD)  # pyright: ignore


def test_a_vocabulary_that_uses_undefined_words_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks objects"):
        Vocabulary(
            name="v",
            receptacles=(ReceptacleKind(name="box", holds=frozenset({"egg"})),),
            objects=(),
            rooms={},
        )
    with pytest.raises(ValueError, match="both for receptacles and objects"):
        Vocabulary(
            name="v",
            receptacles=(ReceptacleKind(name="box"),),
            objects=(ObjectKind(name="box"),),
            rooms={},
        )
