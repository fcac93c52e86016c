"""The reward is WebShop's, part by part."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dyna.envs.webshop.analysis import Analyzer
from dyna.envs.webshop.catalogue import Product
from dyna.envs.webshop.goals import Goal
from dyna.envs.webshop.nouns import content_words
from dyna.envs.webshop.reward import COLORS, Judge, plain, plain_color

for _package in ("rapidfuzz", "Stemmer"):
    pytest.importorskip(_package, reason="the webshop extra is not installed")

TARGET = Product(
    asin="ZTEST00001",
    title="Velmora Oak Wall Shelf",
    description="Made to last.",
    bullets=("Solid oak.", "Holds 20 pounds."),
    price_range=(35.5,),
    price_tag="$35.5",
    category="garden",
    query="wall shelves",
    product_category="Home \u203a Furniture \u203a Shelves",
    options={},
    attributes=("tea tree", "essential oil"),
)
GOAL = Goal(
    asin="ZTEST00001",
    instruction="Find me a shelf",
    attributes=("tea tree",),
    options=("light oak",),
    max_price=40.0,
    weight=1.0,
)


def reward(
    product: Product = TARGET,
    *,
    goal: Goal = GOAL,
    price: float = 35.5,
    options: tuple[str, ...] = (),
) -> float:
    judge = Judge(content_words)
    return judge.judge(product, goal=goal, target=TARGET, price=price, options=options).reward


def test_the_parts_are_counted_alike() -> None:
    assert reward(options=("light oak",)) == 1.0
    assert reward() == pytest.approx(2 / 3)
    assert reward(price=40.0) == pytest.approx(2 / 3)
    assert reward(price=40.01) == pytest.approx(1 / 3)
    other = replace(GOAL, attributes=("gluten free", "tea tree"))
    assert reward(goal=other, options=("light oak",)) == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("attribute", "met"),
    [
        ("tea tree", True),
        ("Tea-Tree!", True),
        ("essential oils", True),
        ("tree tea leaf", True),
        ("solid oak", True),
        ("to last", True),
        ("velmora", True),
        ("Velmora", False),
        ("green tea", False),
        ("", True),
    ],
)
def test_an_attribute_is_met_by_likeness_or_by_the_texts(attribute: str, met: bool) -> None:
    goal = replace(GOAL, attributes=(attribute,), options=())
    assert reward(goal=goal) == (1.0 if met else 0.5)


@pytest.mark.parametrize(
    ("wanted", "chosen", "met"),
    [
        ("large", "large", True),
        ("x-large", "large", True),
        ("cool powder snow", "powder snow", True),
        ("navy blue", "royal red", False),
        ("navy blue", "sky blue", True),
        ("starlight", "light", True),
        ("5 x 7", "5 x 8", False),
        ("red", "burgundy", False),
    ],
)
def test_an_option_is_met_by_likeness_after_its_color(wanted: str, chosen: str, met: bool) -> None:
    goal = replace(GOAL, attributes=("tea tree",), options=(wanted,))
    assert reward(goal=goal, options=("other", chosen)) == pytest.approx(1.0 if met else 2 / 3)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, 1.0),
        ({"query": "bookends", "product_category": "Office"}, 1.0),
        ({"title": "Tin Mug"}, 0.0),
        ({"title": "Tin Mug", "query": "mugs", "product_category": "Kitchen"}, 0.0),
        ({"title": "Oak Mug", "query": "mugs", "product_category": "Kitchen"}, 1.0),
    ],
)
def test_what_kind_of_thing_was_bought(changes: dict[str, str], kind: float) -> None:
    assert Judge(content_words).kind(replace(TARGET, **changes), target=TARGET) == kind


@pytest.mark.parametrize(
    ("num_shared", "num_words", "same_query", "kind"),
    [
        (1, 5, False, 0.5),
        (1, 5, True, 1.0),
        (2, 9, False, 1.0),
        (1, 11, True, 0.1),
        (0, 11, True, 0.0),
        (0, 0, False, 0.5),
    ],
)
def test_titles_that_share_few_nouns(
    num_shared: int, num_words: int, same_query: bool, kind: float
) -> None:
    """Above a fifth of the goal's nouns is alike; under a tenth is worth a tenth, none nothing."""
    nouns = {
        "goal": [f"w{n}" for n in range(num_words)],
        "bought": [f"w{n}" for n in range(num_shared)],
    }
    judge = Judge(nouns.__getitem__)
    target = replace(TARGET, title="goal")
    bought = replace(
        TARGET,
        title="bought",
        query=TARGET.query if same_query else "mugs",
        product_category="Kitchen",
    )
    assert judge.kind(bought, target=target) == kind


def test_two_shared_departments_make_the_kind() -> None:
    judge = Judge({"goal": list("abcde"), "bought": ["a"]}.__getitem__)
    target = replace(TARGET, title="goal")
    bought = replace(
        TARGET, title="bought", query="x", product_category="Shelves\u203a Home \u203a Z"
    )
    assert judge.kind(bought, target=target) == 1.0
    assert judge.kind(replace(bought, product_category="Home \u203a Z"), target=target) == 0.5


def test_colors_are_found_inside_words() -> None:
    assert [plain_color(c) for c in ("dark navy", "redwood", "b | w", "")] == [
        *("dark", "red", "b | w", "")
    ]
    assert list(COLORS) == sorted(COLORS) and len(COLORS) == 102


def test_the_matcher_compares_plain_words() -> None:
    assert plain(" Cr\u00e8me-Br\u00fbl\u00e9e, 5% ") == "crme brle  5"


@pytest.mark.parametrize(
    ("text", "stems"),
    [
        ("technology technologies technological", "technolog technolog technolog"),
        ("possibly incredibly biology ability", "possibl incred biologi abil"),
        ("the dresses of women's skies dying", "dress women ski dy"),
        ("us gas bus generalizations", "us ga bu gener"),
    ],
)
def test_words_are_stemmed_as_lucene_stems_them(text: str, stems: str) -> None:
    assert Analyzer()(text) == stems.split()
