"""What a purchase is worth: WebShop's reward, from 0 to 1.

    reward = r_type * (attributes met + options met + [price within bound])
                    / (attributes asked + options asked + 1)

`r_type` says whether a thing of the right kind was bought. (Yao et al. 2022, "WebShop: Towards
Scalable Real-World Web Interaction with Grounded Language Agents", section 3.)
"""

# rapidfuzz comes with an extra.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from dyna.envs.webshop.catalogue import CATEGORY_SEPARATOR, Product
from dyna.envs.webshop.goals import Goal

_MATCH_ABOVE = 85
_COLOR_TEXT = (
    "alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown "
    "burgundy camel camo caramel champagne charcoal cheetah chestnut chocolate christmas coffee "
    "cognac copper coral cranberry cream crystal dark denim eggplant elephant espresso fuchsia "
    "gold granite grape graphite grass gray green grey heather indigo ivory ivy khaki lavender "
    "lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor "
    "mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red "
    "rose royal rust sand sapphire seashell silver skull slate steel stone stonewash sunflower tan "
    "taupe teal tiger turquoise violet walnut wheat white wine yellow"
)
COLORS = tuple(_COLOR_TEXT.split())
"""The words WebShop takes for colors, in the order in which it looks for them."""
_LATIN_1 = dict.fromkeys(range(128, 256))
_NOT_WORD = re.compile(r"\W")

Tagger = Callable[[str], Sequence[str]]
"""The nouns of a title, in lower case, repetitions and all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A reward and what it is made of."""

    kind: float
    """`r_type`: 1.0, 0.5, 0.1 or 0.0."""
    num_attributes: int
    num_options: int
    within_price: bool
    reward: float


class Judge:
    """Example: `Judge(content_words).judge(product, goal=goal, target=product, price=35.0,
    options=["oak"]).reward` is 1.0 where everything fits. Needs rapidfuzz.
    """

    def __init__(self, tagger: Tagger) -> None:
        from rapidfuzz import fuzz

        likeness = cast("Callable[[str, str], float]", fuzz.token_set_ratio)

        def nouns(title: str) -> tuple[str, ...]:
            return tuple(tagger(title))

        def is_match(first: str, second: str) -> bool:
            first, second = plain(first), plain(second)
            if not first or not second:
                return False
            # WebShop rounds the ratio before it compares.
            return round(likeness(first, second)) > _MATCH_ABOVE

        self._nouns = lru_cache(maxsize=4096)(nouns)
        self._is_match = lru_cache(maxsize=65536)(is_match)

    def judge(
        self, product: Product, *, goal: Goal, target: Product, price: float, options: Sequence[str]
    ) -> Verdict:
        """`target` is the product that the goal was made from; `options` are the values chosen."""
        kind = self.kind(product, target=target)
        num_attributes = self._count_attributes(product, wanted=goal.attributes)
        num_options = self._count_options(options, wanted=goal.options)
        within_price = price <= goal.max_price
        met = num_attributes + num_options + within_price
        asked = len(goal.attributes) + len(goal.options) + 1
        return Verdict(
            kind=kind,
            num_attributes=num_attributes,
            num_options=num_options,
            within_price=within_price,
            reward=kind * (met / asked),
        )

    def kind(self, product: Product, *, target: Product) -> float:
        """`r_type`: how far the thing bought is of the kind that was asked for."""
        wanted = self._nouns(target.title)
        overlap = len(set(wanted) & set(self._nouns(product.title)))
        score = overlap / len(wanted) if wanted else 0.2
        if score == 0.0:
            return 0.0
        if score < 0.1:
            return 0.1
        shared = _levels(product) & _levels(target)
        same = product.query == target.query or len(shared) >= 2 or score > 0.2
        return 1.0 if same else 0.5

    def _count_attributes(self, product: Product, *, wanted: Sequence[str]) -> int:
        texts = (
            product.title.lower(),
            " ".join(product.bullets).lower(),
            product.description.lower(),
        )
        return sum(
            any(self._is_match(has, wish) for has in product.attributes)
            or any(wish in text for text in texts)
            for wish in wanted
        )

    def _count_options(self, chosen: Sequence[str], *, wanted: Sequence[str]) -> int:
        colors = [plain_color(value) for value in chosen]
        return sum(
            any(self._is_match(value, wish) for value in colors)
            for wish in map(plain_color, wanted)
        )


def plain_color(value: str) -> str:
    """The first color word that stands anywhere in `value`, even inside a word; else `value`."""
    return next((color for color in COLORS if color in value), value)


def plain(text: str) -> str:
    """What WebShop's fuzzy matcher compares: lower case, no Latin-1 accents, no punctuation."""
    return _NOT_WORD.sub(" ", text.translate(_LATIN_1)).lower().strip()


def _levels(product: Product) -> set[str]:
    return {level.strip() for level in product.product_category.split(CATEGORY_SEPARATOR)}


__all__ = ["COLORS", "Judge", "Tagger", "Verdict", "plain", "plain_color"]
