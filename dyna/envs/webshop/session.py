"""One visit to a shop: which page is open, what is chosen there, and what a command does to it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dyna.envs.webshop import pages
from dyna.envs.webshop.catalogue import Product
from dyna.envs.webshop.goals import Goal
from dyna.envs.webshop.pages import Kind, Node, Nodes
from dyna.envs.webshop.reward import Verdict
from dyna.envs.webshop.shop import Shop

_SUB_PAGES = {
    name.lower(): name
    for name in (pages.DESCRIPTION, pages.FEATURES, pages.REVIEWS, pages.ATTRIBUTES)
}
_BACK, _NEXT, _PREVIOUS, _BUY, _SEARCH = (
    label.lower() for label in (pages.BACK, pages.NEXT, pages.PREVIOUS, pages.BUY, pages.SEARCH)
)


class Place(StrEnum):
    """The pages of a shop."""

    SEARCH = "search"
    RESULTS = "results"
    ITEM = "item"
    SUB = "sub"
    DONE = "done"


def parse_command(command: str) -> tuple[str, str] | None:
    """What a command does and to what, or None: `click[Buy Now]` is `("click", "buy now")`.

    It says what WebShop's pattern `(.+)\\[(.+)\\]` would find in the first line, in linear time.
    """
    line = command.split("\n", 1)[0]
    end = line.rfind("]")
    begin = line.rfind("[", 1, max(end - 1, 1))
    if begin < 0:
        return None
    return line[:begin], line[begin + 1 : end].lower()


@dataclass(slots=True, kw_only=True)
class Session:
    """Example: `session.act("search[oak shelf]")`, then `session.nodes` is a page of results."""

    shop: Shop
    goal: Goal
    show_attributes: bool = False
    place: Place = Place.SEARCH
    keywords: str = ""
    found: tuple[Product, ...] = ()
    number: int = 1
    """The page of results, from 1."""
    product: Product | None = None
    sub_page: str = ""
    options: dict[str, str] = field(default_factory=dict[str, str])
    """The value chosen of each option."""
    visited: frozenset[str] = frozenset()
    """Products looked at since the search page was last open."""
    verdict: Verdict | None = None
    """Of the purchase, once there was one."""
    nodes: Nodes = field(default_factory=list[Node])
    """The page that is open."""
    labels: dict[str, Node] = field(default_factory=dict[str, Node])
    """What can be clicked on it."""

    def __post_init__(self) -> None:
        self._render()

    def act(self, command: str) -> bool:
        """Whether the command was carried out; otherwise nothing has changed."""
        parsed = parse_command(command)
        if parsed is None or self.place is Place.DONE:
            return False
        verb, argument = parsed
        if verb == "search":
            self._search(argument)
        elif verb == "click" and argument in self.labels and argument != _SEARCH:
            self._click(argument)
        else:
            return False
        self._render()
        return True

    def copy(self) -> Session:
        return replace(self, options=dict(self.options))

    def commands(self, *, suggestion: str) -> tuple[str, ...]:
        """All clicks that do something, and one search, for `suggestion`, where there is a bar."""
        clicks = tuple(
            f"click[{label}]"
            for label in self.labels
            if label != _SEARCH and parse_command(f"click[{label}]") == ("click", label)
        )
        search = (f"search[{suggestion}]",) if self.place is Place.SEARCH else ()
        return search + clicks

    def is_clicked(self, node: Node) -> bool:
        """Whether the rich reading marks it, which for options looks into the page's address."""
        if node.kind is Kind.PRODUCT:
            return node.text in self.visited
        address = f"{self.keywords.replace(' ', '+')}/{json.dumps(self.options)}"
        return f'"{node.text}"' in address

    @property
    def results(self) -> tuple[Product, ...]:
        """The products on the open page of results."""
        return self.found[(self.number - 1) * pages.PAGE_SIZE : self.number * pages.PAGE_SIZE]

    def _search(self, keywords: str) -> None:
        self.keywords = keywords
        self.found = self.shop.find(keywords, goal=self.goal)
        self._show_results(1)

    def _show_results(self, number: int) -> None:
        self.place, self.number, self.product = Place.RESULTS, number, None
        self.options = {}

    def _click(self, label: str) -> None:
        # The order matters where an option is called like a button: the button wins, as in WebShop.
        if label == _BUY:
            self._buy()
        elif label == _BACK:
            self.place, self.product, self.options = Place.SEARCH, None, {}
            self.visited = frozenset()
        elif label == _NEXT and self.place is Place.RESULTS:
            self._show_results(self.number + 1)
        elif label == _PREVIOUS and self.place is Place.RESULTS:
            self._show_results(self.number - 1)
        elif label == _PREVIOUS and self.place is Place.SUB:
            self.place = Place.ITEM
        elif label == _PREVIOUS:
            self._show_results(self.number)
        elif label in _SUB_PAGES and self.place is Place.ITEM:
            self.place, self.sub_page = Place.SUB, _SUB_PAGES[label]
        else:
            self._click_node(self.labels[label])

    def _click_node(self, node: Node) -> None:
        if node.kind is Kind.PRODUCT:
            self.place, self.product = Place.ITEM, self.shop.product(node.text)
            self.visited |= {node.text}
        else:
            self.options[node.option] = node.text

    def _buy(self) -> None:
        assert self.product is not None, "there is something to buy on an item's page alone"
        self.verdict = self.shop.judge(
            self.product, goal=self.goal, options=list(self.options.values())
        )
        self.place = Place.DONE

    def _render(self) -> None:
        text = self.goal.instruction
        if self.place is Place.SEARCH:
            nodes = pages.search_page(text)
        elif self.place is Place.RESULTS:
            nodes = pages.results_page(
                text, products=self.results, number=self.number, num_found=len(self.found)
            )
        else:
            nodes = self._product_page(text)
        self.nodes, self.labels = nodes, pages.clickables(nodes)

    def _product_page(self, text: str) -> Nodes:
        product = self.product
        assert product is not None, f"page {self.place} is about a product"
        if self.place is Place.ITEM:
            return pages.item_page(text, product=product, show_attributes=self.show_attributes)
        if self.place is Place.SUB:
            return pages.sub_page(text, product=product, name=self.sub_page)
        assert self.verdict is not None, "a purchase is judged"
        return pages.done_page(asin=product.asin, options=self.options, reward=self.verdict.reward)


__all__ = ["Place", "Session", "parse_command"]
