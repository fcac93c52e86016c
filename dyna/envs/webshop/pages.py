"""The shop's pages as lists of visible strings, and their two readings as text.

WebShop renders web pages and reads the text back out of them. What comes out is the same list of
strings, in the same order, with what each of them is: plain text, a button, an option or a link.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from dyna.envs.webshop.catalogue import Product

SEPARATOR = " [SEP] "
SEARCH = "Search"
BACK = "Back to Search"
NEXT = "Next >"
PREVIOUS = "< Prev"
BUY = "Buy Now"
DESCRIPTION, FEATURES, REVIEWS, ATTRIBUTES = "Description", "Features", "Reviews", "Attributes"
PAGE_SIZE = 10
"""Products on a page of results."""
_HTML_SAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&'"}


class Kind(StrEnum):
    TEXT = "text"
    BUTTON = "button"
    OPTION = "option"
    PRODUCT = "product"


class Observation(StrEnum):
    """The two readings of a page."""

    TEXT = "text"
    """Strings joined by ` [SEP] `; does not tell what has been clicked."""
    TEXT_RICH = "text_rich"
    """A line per string, which marks buttons and what has been clicked."""


class Node(NamedTuple):
    text: str
    kind: Kind = Kind.TEXT
    option: str = ""
    """The name of the option whose value this is."""


Nodes = list[Node]


def search_page(instruction: str) -> Nodes:
    return [
        Node("WebShop"),
        Node("Instruction: "),
        Node(instruction),
        Node(SEARCH, Kind.BUTTON),
    ]


def results_page(
    instruction: str, *, products: Sequence[Product], number: int, num_found: int
) -> Nodes:
    """`products` are those of page `number`, of `num_found` on all pages."""
    return [
        *_head(instruction),
        Node(f"Page {number} (Total results: {num_found})"),
        *([Node(PREVIOUS, Kind.BUTTON)] if number > 1 else []),
        Node(NEXT, Kind.BUTTON),
        *(
            node
            for product in products
            for node in (
                Node(product.asin, Kind.PRODUCT),
                Node(product.title),
                Node(product.price_tag),
            )
        ),
    ]


def item_page(instruction: str, *, product: Product, show_attributes: bool) -> Nodes:
    nodes = [*_head(instruction), Node(PREVIOUS, Kind.BUTTON)]
    for name, values in product.options.items():
        nodes.append(Node(name))
        nodes += [Node(value, Kind.OPTION, name) for value in values]
    nodes += [
        Node(product.title),
        Node(f"Price: {product.price_tag}"),
        Node("Rating: N.A."),
        Node(DESCRIPTION, Kind.BUTTON),
        Node(FEATURES, Kind.BUTTON),
        Node(REVIEWS, Kind.BUTTON),
        *([Node(ATTRIBUTES, Kind.BUTTON)] if show_attributes else []),
        Node(BUY, Kind.BUTTON),
    ]
    return nodes


def sub_page(instruction: str, *, product: Product, name: str) -> Nodes:
    """`name` is Description, Features, Reviews or Attributes. There are no reviews."""
    nodes = [*_head(instruction), Node(PREVIOUS, Kind.BUTTON)]
    if name == DESCRIPTION:
        nodes.append(Node(product.description))
    elif name == FEATURES:
        nodes += [Node(f" {bullet}") for bullet in product.bullets]
    elif name == ATTRIBUTES:
        nodes += [Node(f" {attribute}") for attribute in product.attributes]
        nodes += map(Node, (product.category, product.query, product.product_category))
    return nodes


def done_page(*, asin: str, options: Mapping[str, str], reward: float) -> Nodes:
    """What WebShop's last page says to a program: most of its fields are left unfilled."""
    chosen = json.dumps(dict(options), sort_keys=True).translate(_HTML_SAFE)
    before = "Thank you for shopping with us!|Your code: |None| (Paste it in your MTurk interface.)"
    bought = f"Purchased|asin|{asin}|options"
    unfilled = "attrs|None|category|None|query|None|product category|None|Target|asin|options|attrs"
    # The spelling is WebShop's.
    target = "price upper|instuction text|category|product category|query|Goal |None|Reward"
    score = f"Your score (min 0.0, max 1.0)|{reward}|Reward Details |None"
    strings = [
        *before.split("|"),
        *bought.split("|"),
        chosen,
        *unfilled.split("|"),
        *target.split("|"),
        *score.split("|"),
    ]
    return [Node(text) for text in strings]


def clickables(nodes: Iterable[Node]) -> dict[str, Node]:
    """What can be clicked, by label: buttons and products, then options.

    Of equal labels the last one counts, at the place of the first.
    """
    nodes = list(nodes)
    found = {node.text.lower(): node for node in nodes if node.kind in (Kind.BUTTON, Kind.PRODUCT)}
    found.update((node.text, node) for node in nodes if node.kind is Kind.OPTION)
    return found


def read_plain(nodes: Iterable[Node]) -> str:
    return SEPARATOR.join(node.text.strip() for node in _visible(nodes))


def read_rich(nodes: Iterable[Node], *, is_clicked: Callable[[Node], bool]) -> str:
    lines: list[str] = []
    said: list[str] = []
    for node in _visible(nodes):
        if node.kind is Kind.TEXT:
            lines.append(node.text)
            continue
        clicked = node.kind is not Kind.BUTTON and is_clicked(node)
        word = "clicked button" if clicked else "button"
        indent = {Kind.OPTION: "  ", Kind.PRODUCT: "\n"}.get(node.kind, "")
        lines.append(f"{indent}[{word}] {node.text} [{word}_]")
        if clicked and node.kind is Kind.OPTION:
            said.insert(0, f"You have clicked {node.text}.")
    return "".join(f"{line}\n" for line in [*said, *lines])


def _head(instruction: str) -> Nodes:
    return [Node("Instruction:"), Node(instruction), Node(BACK, Kind.BUTTON)]


def _visible(nodes: Iterable[Node]) -> Iterator[Node]:
    """An HTML parser sees no empty string, and of blanks one blank or a line break, which
    WebShop leaves out."""
    for node in nodes:
        if node.text.strip(" \t\n\r\x0c"):
            yield node
        elif node.text and "\n" not in node.text:
            yield node._replace(text=" ")


__all__ = [
    "ATTRIBUTES",
    "BACK",
    "BUY",
    "DESCRIPTION",
    "FEATURES",
    "NEXT",
    "PAGE_SIZE",
    "PREVIOUS",
    "REVIEWS",
    "SEARCH",
    "SEPARATOR",
    "Kind",
    "Node",
    "Nodes",
    "Observation",
    "clickables",
    "done_page",
    "item_page",
    "read_plain",
    "read_rich",
    "results_page",
    "search_page",
    "sub_page",
]
