"""A shop that is open: its goods, what they cost, how they are found, and what customers want.

Everything that does not change while people shop; one shop serves all sessions of a process.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from threading import Lock

from dyna.envs.webshop.catalogue import Product
from dyna.envs.webshop.goals import Goal, GoalKind, draw_prices, make_goals, split_goals
from dyna.envs.webshop.reward import Judge, Tagger, Verdict
from dyna.envs.webshop.search import SearchIndex

MAX_RESULTS = 50
_MAX_REMEMBERED = 4096
_MAX_QUERY = 1000
"""Longer queries are not remembered."""


class Shop:
    """Example: `Shop(load_catalogue(find_files("")), kind=GoalKind.SYNTHETIC, price_seed=0,
    tagger=content_words)`

    `price_seed` draws prices that the catalogue leaves open, and price bounds. Raises `ValueError`
    for a catalogue with fewer than three goals.
    """

    def __init__(
        self, products: Sequence[Product], *, kind: GoalKind, price_seed: int, tagger: Tagger
    ) -> None:
        rng = random.Random(price_seed)
        self.kind = kind
        self.products = tuple(products)
        self.prices = draw_prices(products, rng=rng)
        self.goals = tuple(make_goals(products, kind=kind, prices=self.prices, rng=rng))
        if len(self.goals) < 3:
            raise ValueError(
                f"webshop: the catalogue has {len(self.goals)} {kind.value} goals, 3 are needed "
                "for train, dev and test; give one whose products have instructions"
            )
        self.splits = split_goals(self.goals)
        self._judge = Judge(tagger)
        self._by_asin = {product.asin: product for product in products}
        self._index = SearchIndex(
            [product.document for product in products], ids=[product.asin for product in products]
        )
        self._found: OrderedDict[str, tuple[Product, ...]] = OrderedDict()
        self._lock = Lock()

    @cached_property
    def fingerprint(self) -> str:
        """Equal for shops that sell the same for the same, to customers who want the same."""
        digest = blake2b(digest_size=8)
        for product in self.products:
            digest.update(f"{product.asin} {self.prices[product.asin]} {product.document}".encode())
        for goal in self.goals:
            digest.update(goal.fingerprint.encode())
        return digest.hexdigest()

    def product(self, asin: str) -> Product:
        return self._by_asin[asin]

    def find(self, keywords: str, *, goal: Goal) -> tuple[Product, ...]:
        """What a search shows, best first: 50 products at most.

        The first words `<r>`, `<a>`, `<c>` and `<q>` are WebShop's own: 50 products at random (the
        same ones for one goal), and all those with an attribute, of a category or of a kind.
        """
        first, *rest = keywords.split(" ")
        if first == "<r>":
            rng = random.Random(f"{goal.fingerprint} {keywords}")
            return tuple(rng.sample(self.products, min(MAX_RESULTS, len(self.products))))
        if first in ("<a>", "<c>", "<q>"):
            return self._filter(first, words=rest)
        with self._lock:
            found = self._found.get(keywords)
        if found is None:
            ranking = self._index.rank(keywords, num=MAX_RESULTS)
            found = tuple(self.products[position] for position in ranking)
            if len(keywords) <= _MAX_QUERY:
                self._remember(keywords, found=found)
        return found

    def judge(self, product: Product, *, goal: Goal, options: Sequence[str]) -> Verdict:
        return self._judge.judge(
            product,
            goal=goal,
            target=self.product(goal.asin),
            price=self.prices[product.asin],
            options=options,
        )

    def _filter(self, field: str, *, words: Sequence[str]) -> tuple[Product, ...]:
        wanted = " ".join(words).strip()
        if field == "<a>":
            return tuple(p for p in self.products if wanted in p.attributes)
        if field == "<q>":
            return tuple(p for p in self.products if p.query == wanted)
        # WebShop reads one word here, which is what its categories are.
        category = words[0].strip() if words else ""
        return tuple(p for p in self.products if p.category == category)

    def _remember(self, keywords: str, *, found: tuple[Product, ...]) -> None:
        with self._lock:
            self._found[keywords] = found
            if len(self._found) > _MAX_REMEMBERED:
                self._found.popitem(last=False)


__all__ = ["MAX_RESULTS", "Shop"]
