"""Goals follow from the catalogue and one seed; the splits share none."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from itertools import product as combinations
from pathlib import Path

import pytest

from dyna.envs.webshop.catalogue import Instruction, Product, load_catalogue
from dyna.envs.webshop.files import find_files
from dyna.envs.webshop.goals import (
    NO_BOUND,
    Goal,
    GoalKind,
    draw_prices,
    make_goals,
    split_goals,
)
from tests.unit.dyna.envs.webshop_catalogues import asked, item, write


def goals_of(
    products: Sequence[Product], *, kind: GoalKind = GoalKind.SYNTHETIC, seed: int = 0
) -> list[Goal]:
    rng = random.Random(seed)
    return make_goals(products, kind=kind, prices=draw_prices(products, rng=rng), rng=rng)


def invented() -> list[Product]:
    return load_catalogue(find_files(""))


def test_every_choice_of_options_is_a_goal(tmp_path: Path) -> None:
    products = load_catalogue(find_files(str(write(tmp_path, items=[item()]))))
    goals = goals_of(products)
    assert {goal.options for goal in goals} == set(
        combinations(("light oak", "black | white"), ("s", "l"))
    )
    goal = next(goal for goal in goals if goal.options == ("light oak", "s"))
    assert goal.instruction == (
        "Find me easy hang wall shelves with color: light oak, and size: s, "
        f"and price lower than {goal.max_price:.2f} dollars"
    )
    assert goal.weight == 1 / 4


def test_the_bound_is_the_larger_of_two_of_the_four_tens_above_the_price(tmp_path: Path) -> None:
    products = load_catalogue(find_files(str(write(tmp_path, items=[item()]))))
    bounds = Counter(goals_of(products, seed=seed)[0].max_price for seed in range(300))
    # Of the six pairs of 40, 50, 60 and 70, one, two and three have these as the larger one.
    assert set(bounds) == {50.0, 60.0, 70.0}
    assert bounds[50.0] < bounds[60.0] < bounds[70.0]


@pytest.mark.parametrize("pricing", ["$980.00", "$2500"])
def test_a_price_near_the_top_of_the_grid_has_no_bound(tmp_path: Path, pricing: str) -> None:
    products = load_catalogue(find_files(str(write(tmp_path, items=[item(pricing=pricing)]))))
    goal = goals_of(products)[0]
    assert goal.max_price == NO_BOUND
    assert goal.instruction.endswith(("size: s", "size: l"))


def test_weights_are_the_mean_rarity_of_the_attributes() -> None:
    goals = goals_of(invented())
    counts = Counter(attribute for goal in goals for attribute in goal.attributes)
    for goal in goals[:50]:
        rarity = [1 / counts[attribute] for attribute in goal.attributes]
        assert goal.weight == pytest.approx(sum(rarity) / len(rarity))


def test_human_goals_are_what_people_wrote(tmp_path: Path) -> None:
    human = {
        "ZTEST00001": [
            {
                "instruction": "i want an oak shelf.",
                "instruction_attributes": ["solid oak"],
                "instruction_options": ["light oak"],
            },
            {"instruction": "vague", "instruction_attributes": [], "instruction_options": []},
        ]
    }
    products = load_catalogue(find_files(str(write(tmp_path, items=[item()], human=human))))
    [goal] = goals_of(products, kind=GoalKind.HUMAN)
    assert goal.instruction.startswith("i want an oak shelf, and price lower than ")
    assert (goal.options, goal.option_names, goal.weight) == (("light oak",), (), 1.0)


def test_the_seed_decides_prices_and_bounds() -> None:
    products = invented()
    assert goals_of(products) == goals_of(products)
    assert goals_of(products) != goals_of(products, seed=1)


def test_a_price_between_two_is_drawn_between_them() -> None:
    products = [product for product in invented() if len(product.price_range) == 2]
    assert len(products) > 20
    prices = draw_prices(products, rng=random.Random(0))
    for product in products:
        low, high = product.price_range
        assert low <= prices[product.asin] <= high


def test_the_order_is_webshops_own() -> None:
    """`random.seed(233); random.shuffle(goals)`: the order depends on their number alone."""
    order = list(range(1000))
    random.Random(233).shuffle(order)
    product = replace(
        invented()[0],
        options={"number": tuple(f"{number:04}" for number in range(1000))},
        synthetic=Instruction(text="Find me", attributes=("a",)),
    )
    assert [int(goal.options[0]) for goal in goals_of([product])] == order


def test_the_splits_of_a_large_catalogue_are_the_usual_ones() -> None:
    goal = goals_of(invented())[0]
    goals = [replace(goal, options=(str(number),)) for number in range(6910)]
    splits = split_goals(goals)
    assert splits["test"] == list(range(500))
    assert splits["dev"] == list(range(500, 1500))
    assert splits["train"] == list(range(1500, 6910))


@pytest.mark.parametrize("num_goals", [3, 12, 100, 1999])
def test_a_small_catalogue_has_goals_in_every_split(num_goals: int) -> None:
    goal = goals_of(invented())[0]
    splits = split_goals([replace(goal, options=(str(n),)) for n in range(num_goals)])
    assert all(splits.values())
    assert sorted(chain(*splits.values())) == list(range(num_goals))


def test_a_goal_that_repeats_an_earlier_one_belongs_to_no_split(tmp_path: Path) -> None:
    """Two values that differ in case alone make two goals with the same words and target."""
    values = [{"value": value} for value in ("Red", "RED", *(f"c{n}" for n in range(50)))]
    entry = item(customization_options={"Color": values})
    folder = write(tmp_path, items=[entry], instructions={"ZTEST00001": asked()})
    goals = goals_of(load_catalogue(find_files(str(folder))))
    splits = split_goals(goals)
    taken = [goals[index].fingerprint for indices in splits.values() for index in indices]
    assert len(goals) == 52
    assert len(taken) == len(set(taken)) == 51
    first = next(index for index, goal in enumerate(goals) if goal.options == ("red",))
    assert first in set(chain(*splits.values()))
