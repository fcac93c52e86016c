"""How close WebShop's search comes to Lucene's: overlap with rankings that Lucene gave.

    python -m experiments.webshop_ranking RANKINGS.json CATALOGUE

RANKINGS.json holds, by form of query and by the product whose instruction was asked, the ids of
Lucene's first ten; CATALOGUE is the folder of the products that Lucene had indexed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from dyna.envs.webshop.catalogue import Product, load_catalogue
from dyna.envs.webshop.files import find_files
from dyna.envs.webshop.search import SearchIndex
from dyna.files import read_json

FORMS = ("instruction", "four_words")
"""The whole instruction; its third to sixth word, as a customer in a hurry would type."""
_DEPTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Shares over all queries, in [0, 1]."""

    num_queries: int
    same_first: float
    overlap: float
    """Of Lucene's first ten, how many are among ours."""
    same_order: float
    """How often all ten stand in the same order."""


def query_of(product: Product, *, form: str) -> str:
    """Raises `ValueError` for an unknown form, or a product nobody has asked for."""
    if form not in FORMS:
        raise ValueError(f"form of query must be one of {', '.join(FORMS)}, got {form!r}")
    if product.synthetic is None:
        raise ValueError(f"product {product.asin} has no instruction; is it the same catalogue?")
    text = product.synthetic.text.lower()
    return text if form == FORMS[0] else " ".join(text.split()[2:6])


def measure(products: Sequence[Product], *, rankings: Mapping[str, Mapping[str, str]]) -> Agreement:
    """`rankings[form][asin]` are ids, best first, with blanks between them."""
    index = SearchIndex([p.document for p in products], ids=[p.asin for p in products])
    by_asin = {product.asin: product for product in products}
    pairs = [
        (
            [products[i].asin for i in index.rank(query_of(by_asin[asin], form=form), num=_DEPTH)],
            ids.split(),
        )
        for form in FORMS
        for asin, ids in rankings[form].items()
    ]
    if not pairs:
        raise ValueError("no rankings to compare with; record at least one query")
    return Agreement(
        num_queries=len(pairs),
        same_first=_mean([ours[:1] == theirs[:1] for ours, theirs in pairs]),
        overlap=_mean([len({*ours} & {*theirs}) / max(1, len(theirs)) for ours, theirs in pairs]),
        same_order=_mean([ours == theirs for ours, theirs in pairs]),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2:
        Console(stderr=True).print(
            "usage: python -m experiments.webshop_ranking RANKINGS.json CATALOGUE"
        )
        return 2
    rankings, data = arguments
    found = measure(load_catalogue(find_files(data)), rankings=read_json(Path(rankings)))
    Console().print(
        f"{found.num_queries} queries: same first {found.same_first:.3f}, "
        f"top-10 overlap {found.overlap:.3f}, same order {found.same_order:.3f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
