"""Pages read as WebShop's, and commands are understood as WebShop understands them."""

from __future__ import annotations

import random
import re
import time

import pytest

from dyna.envs.webshop.catalogue import Product
from dyna.envs.webshop.pages import (
    Kind,
    Node,
    clickables,
    done_page,
    item_page,
    read_plain,
    read_rich,
    results_page,
    search_page,
    sub_page,
)
from dyna.envs.webshop.session import parse_command

SHELF = Product(
    asin="ZTEST00001",
    title="Oak Wall Shelf",
    description="A shelf & more.",
    bullets=("Solid oak.", "Easy to hang."),
    price_range=(35.5,),
    price_tag="$35.5",
    category="garden",
    query="wall shelves",
    product_category="Home \u203a Shelves",
    options={"color": ("oak", "black"), "size": ("s",)},
    attributes=("easy hang", "solid oak"),
)
GOAL = "find me a shelf"


def test_the_search_page() -> None:
    nodes = search_page(GOAL)
    assert read_plain(nodes) == "WebShop [SEP] Instruction: [SEP] find me a shelf [SEP] Search"
    assert list(clickables(nodes)) == ["search"]


def test_pages_of_results() -> None:
    first = results_page(GOAL, products=[SHELF], number=1, num_found=11)
    assert read_plain(first) == (
        "Instruction: [SEP] find me a shelf [SEP] Back to Search [SEP] Page 1 (Total results: 11) "
        "[SEP] Next > [SEP] ZTEST00001 [SEP] Oak Wall Shelf [SEP] $35.5"
    )
    assert list(clickables(first)) == ["back to search", "next >", "ztest00001"]
    second = results_page(GOAL, products=[], number=2, num_found=11)
    assert read_plain(second).endswith("Page 2 (Total results: 11) [SEP] < Prev [SEP] Next >")
    assert list(clickables(second)) == ["back to search", "< prev", "next >"]


def test_the_page_of_an_item() -> None:
    nodes = item_page(GOAL, product=SHELF, show_attributes=False)
    assert read_plain(nodes) == (
        "Instruction: [SEP] find me a shelf [SEP] Back to Search [SEP] < Prev [SEP] color [SEP] "
        "oak [SEP] black [SEP] size [SEP] s [SEP] Oak Wall Shelf [SEP] Price: $35.5 [SEP] "
        "Rating: N.A. [SEP] Description [SEP] Features [SEP] Reviews [SEP] Buy Now"
    )
    assert list(clickables(nodes)) == [
        *("back to search", "< prev", "description", "features", "reviews", "buy now"),
        *("oak", "black", "s"),
    ]
    shown = item_page(GOAL, product=SHELF, show_attributes=True)
    assert "attributes" in clickables(shown)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Description", "A shelf & more."),
        ("Features", "Solid oak. [SEP] Easy to hang."),
        ("Attributes", "easy hang [SEP] solid oak [SEP] garden [SEP] wall shelves"),
        ("Reviews", "< Prev"),
    ],
)
def test_sub_pages(name: str, text: str) -> None:
    nodes = sub_page(GOAL, product=SHELF, name=name)
    head = "Instruction: [SEP] find me a shelf [SEP] Back to Search [SEP] < Prev"
    assert read_plain(nodes).startswith(head)
    assert text in read_plain(nodes)
    assert list(clickables(nodes)) == ["back to search", "< prev"]


def test_the_last_page_tells_the_score() -> None:
    nodes = done_page(asin="ZTEST00001", options={"size": 's"', "color": "a<b"}, reward=0.75)
    assert read_plain(nodes) == (
        "Thank you for shopping with us! [SEP] Your code: [SEP] None [SEP] (Paste it in your MTurk "
        "interface.) [SEP] Purchased [SEP] asin [SEP] ZTEST00001 [SEP] options [SEP] "
        '{"color": "a\\u003cb", "size": "s\\""} [SEP] attrs [SEP] None [SEP] category [SEP] None '
        "[SEP] query [SEP] None [SEP] product category [SEP] None [SEP] Target [SEP] asin [SEP] "
        "options [SEP] attrs [SEP] price upper [SEP] instuction text [SEP] category [SEP] product "
        "category [SEP] query [SEP] Goal [SEP] None [SEP] Reward [SEP] Your score (min 0.0, max "
        "1.0) [SEP] 0.75 [SEP] Reward Details [SEP] None"
    )
    assert not clickables(nodes)


def test_the_rich_reading_marks_what_was_clicked() -> None:
    nodes = item_page(GOAL, product=SHELF, show_attributes=False)
    text = read_rich(nodes, is_clicked=lambda node: node.text == "black")
    assert text.startswith("You have clicked black.\nInstruction:\nfind me a shelf\n")
    assert "\n  [button] oak [button_]\n  [clicked button] black [clicked button_]\n" in text
    assert text.endswith("[button] Buy Now [button_]\n")
    results = results_page(GOAL, products=[SHELF], number=1, num_found=1)
    assert "\n\n[clicked button] ZTEST00001 [clicked button_]\nOak" in read_rich(
        results, is_clicked=lambda node: True
    )


def test_empty_strings_are_not_seen() -> None:
    nodes = [Node("a"), Node(""), Node("  "), Node(" \n "), Node("b ")]
    assert read_plain(nodes) == "a [SEP]  [SEP] b"


def test_of_equal_labels_the_last_option_counts() -> None:
    nodes = [
        Node("Features", Kind.BUTTON),
        Node("red", Kind.OPTION, "color"),
        Node("red", Kind.OPTION, "trim"),
        Node("features", Kind.OPTION, "set"),
    ]
    found = clickables(nodes)
    assert list(found) == ["features", "red"]
    assert (found["red"].option, found["features"].option) == ("trim", "set")


@pytest.mark.parametrize(
    ("command", "parsed"),
    [
        ("click[Buy Now]", ("click", "buy now")),
        ("search[a]", ("search", "a")),
        ("click[buy now] please", ("click", "buy now")),
        (" click[x]", (" click", "x")),
        ("click[a]b]", ("click", "a]b")),
        ("click[a[b]", ("click[a", "b")),
        ("click[]", None),
        ("[x]", None),
        ("click", None),
        ("", None),
        ("]x[", None),
        ("click[x\n]", None),
        ("click[x]\nclick[y]", ("click", "x")),
    ],
)
def test_commands_are_understood_as_webshop_does(
    command: str, parsed: tuple[str, str] | None
) -> None:
    assert parse_command(command) == parsed


def test_the_parser_is_webshops_pattern_in_linear_time() -> None:
    pattern = re.compile(r"(.+)\[(.+)\]")
    rng = random.Random(0)
    for _ in range(20_000):
        command = "".join(rng.choices("ab[]\n", k=rng.randrange(9)))
        match = pattern.match(command)
        expected = (match[1], match[2].lower()) if match else None
        assert parse_command(command) == expected, command
    begin = time.perf_counter()
    parse_command("[" * 1_000_000)
    assert time.perf_counter() - begin < 1.0
