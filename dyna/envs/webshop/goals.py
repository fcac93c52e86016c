"""What a customer wants: goals from instructions, in WebShop's order and its splits.

A synthetic goal is one instruction with one choice of every option, a human goal one sentence that
someone wrote. Prices and price bounds come from one seed, the order from WebShop's own, 233.
"""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from dyna.envs.webshop.catalogue import Instruction, Product

SHUFFLE_SEED = 233
NO_BOUND = 1_000_000.0
"""The price bound of a goal that names none, in dollars."""
_GRID = tuple(10.0 * step for step in range(1, 100))
_NUM_BOUNDS = 4
_MAX_TEST, _MAX_DEV = 500, 1000


class GoalKind(StrEnum):
    SYNTHETIC = "synthetic"
    HUMAN = "human"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Example: `Goal(asin="B0TEST0001", instruction="Find me easy clean shelves with color: oak,
    and price lower than 50.00 dollars", attributes=("easy clean",), options=("oak",),
    option_names=("color",), max_price=50.0, weight=0.2)`
    """

    asin: str
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[str, ...]
    """The values that must be chosen."""
    option_names: tuple[str, ...] = ()
    """Whose values they are, one for one; empty for human goals, which do not say."""
    max_price: float
    weight: float
    """How often it is posed, relative to the others."""

    @property
    def fingerprint(self) -> str:
        """Equal for goals with the same words and the same target."""
        content = [self.asin, self.instruction, self.attributes, self.options, self.max_price]
        return blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()


def draw_prices(products: Sequence[Product], *, rng: random.Random) -> dict[str, float]:
    """What each product costs, in dollars: its price, or one drawn between its two."""
    return {
        product.asin: product.price_range[0]
        if len(product.price_range) == 1
        else rng.uniform(product.price_range[0], product.price_range[1])
        for product in products
    }


def make_goals(
    products: Sequence[Product],
    *,
    kind: GoalKind,
    prices: Mapping[str, float],
    rng: random.Random,
) -> list[Goal]:
    """All goals of a catalogue, shuffled. Goal i is WebShop's session i."""
    if kind is GoalKind.SYNTHETIC:
        goals = _synthetic_goals(products, prices=prices, rng=rng)
    else:
        goals = _human_goals(products, prices=prices, rng=rng)
    random.Random(SHUFFLE_SEED).shuffle(goals)
    return goals


def split_goals(goals: Sequence[Goal]) -> dict[str, list[int]]:
    """Positions of the goals of each split: the first 500 are `test`, the next 1,000 `dev` and the
    rest `train`; in a small catalogue a twelfth and a sixth.

    A goal that repeats an earlier one in words and target belongs to no split.
    """
    num_test = min(_MAX_TEST, max(1, len(goals) // 12))
    num_dev = min(_MAX_DEV, max(1, len(goals) // 6))
    bounds = {
        "train": (num_test + num_dev, len(goals)),
        "dev": (num_test, num_test + num_dev),
        "test": (0, num_test),
    }
    seen: set[str] = set()
    fresh: set[int] = set()
    for index, goal in enumerate(goals):
        if goal.fingerprint not in seen:
            seen.add(goal.fingerprint)
            fresh.add(index)
    return {
        name: [index for index in range(begin, end) if index in fresh]
        for name, (begin, end) in bounds.items()
    }


def _synthetic_goals(
    products: Sequence[Product], *, prices: Mapping[str, float], rng: random.Random
) -> list[Goal]:
    drafts: list[tuple[Product, Instruction, tuple[str, ...], tuple[str, ...], str, float]] = []
    counts: Counter[str] = Counter()
    for product in products:
        asked = product.synthetic
        if asked is None:
            continue
        words, max_price = _price_bound(prices[product.asin], rng=rng)
        names = tuple(sorted(product.options))
        for values in itertools.product(*(product.options[name] for name in names)):
            drafts.append((product, asked, names, values, words, max_price))
            counts.update(asked.attributes)
    return [
        Goal(
            asin=product.asin,
            instruction=asked.text + _option_words(names, values=values) + words,
            attributes=asked.attributes,
            options=values,
            option_names=names,
            max_price=max_price,
            weight=sum(1 / counts[a] for a in asked.attributes) / len(asked.attributes),
        )
        for product, asked, names, values, words, max_price in drafts
    ]


def _human_goals(
    products: Sequence[Product], *, prices: Mapping[str, float], rng: random.Random
) -> list[Goal]:
    goals: list[Goal] = []
    for product in products:
        for asked in product.human:
            if not asked.attributes:
                continue
            words, max_price = _price_bound(prices[product.asin], rng=rng)
            goals.append(
                Goal(
                    asin=product.asin,
                    instruction=asked.text.strip(".") + words,
                    attributes=asked.attributes,
                    options=asked.options,
                    max_price=max_price,
                    weight=1.0,
                )
            )
    return goals


def _price_bound(price: float, *, rng: random.Random) -> tuple[str, float]:
    """The larger of two of the first four tens above the price, in words and in dollars."""
    above = [bound for bound in _GRID if bound > price][:_NUM_BOUNDS]
    if len(above) < 2:
        return "", NO_BOUND
    bound = max(rng.sample(above, 2))
    return f", and price lower than {bound:.2f} dollars", bound


def _option_words(names: Sequence[str], *, values: Sequence[str]) -> str:
    words = ", and ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True))
    return f" with {words}" if words else ""


__all__ = [
    "NO_BOUND",
    "SHUFFLE_SEED",
    "Goal",
    "GoalKind",
    "draw_prices",
    "make_goals",
    "split_goals",
]
