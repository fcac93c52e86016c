"""A customer who knows where the thing stands, and one who gets it almost right.

Both walk through the episode again in a session of their own, so they find on from any detour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dyna.envs.webshop import pages
from dyna.envs.webshop.catalogue import Product
from dyna.envs.webshop.goals import Goal
from dyna.envs.webshop.session import Place, Session
from dyna.envs.webshop.shop import Shop
from dyna.seeding import generator
from dyna.types import Context, Task

OpenSession = Callable[[Task], Session]
"""A fresh session for a task."""


def click(label: str) -> str:
    return f"click[{label.lower()}]"


def search_words(text: str) -> str:
    """`text` as it can stand in `search[...]`: on one line and without brackets."""
    return " ".join(text.translate({ord("["): " ", ord("]"): " "}).split())


def good_query(shop: Shop, *, goal: Goal) -> str:
    """The first of instruction, title and kind that finds the goal's product; the instruction if
    none does."""
    product = shop.product(goal.asin)
    texts = (goal.instruction, product.title, f"{product.query} {product.title}")
    queries = [query for query in map(search_words, texts) if query]
    for query in queries:
        if product in shop.find(query.lower(), goal=goal):
            return query
    return queries[0] if queries else product.asin


class Oracle:
    """Searches the instruction, opens the product it was made from, sets its options, buys."""

    def __init__(self, open_session: OpenSession) -> None:
        self._open_session = open_session

    def __call__(self, context: Context) -> str:
        return self.next_command(self.replay(context))

    def replay(self, context: Context) -> Session:
        session = self._open_session(context.task)
        for turn in context.turns[: context.length]:
            session.act(turn.action.command)
        return session

    def next_command(self, session: Session) -> str:
        goal, target = session.goal, session.shop.product(session.goal.asin)
        is_found = target in session.found
        if session.place is Place.ITEM and session.product is target:
            return _choose_or_buy(session)
        if session.place is Place.RESULTS and is_found:
            return _walk_results(session, target=target)
        at_target = session.place is Place.SUB and session.product is target
        if at_target or (session.place is Place.ITEM and is_found):
            return click(pages.PREVIOUS)
        if session.place in (Place.SEARCH, Place.RESULTS):
            return f"search[{good_query(session.shop, goal=goal)}]"
        return click(pages.BACK)


class Explorer:
    """Follows the oracle, but at `share` of its turns errs as a hasty customer would.

    It takes another product or value, searches with half of the words, buys too early, looks
    around, or clicks what is not there.
    """

    def __init__(self, oracle: Oracle, *, share: float = 0.35) -> None:
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share must be in [0, 1], got {share}")
        self._oracle = oracle
        self._share = share

    def __call__(self, context: Context) -> str:
        rng = generator(context.seed, "webshop explorer")
        session = self._oracle.replay(context)
        if rng.random() >= self._share:
            return self._oracle.next_command(session)
        return _err(session, rng=rng)


def _choose_or_buy(session: Session) -> str:
    """One of the goal's values that is not chosen yet, if the page offers it; else the purchase."""
    goal = session.goal
    chosen = set(session.options.values())
    commands = set(session.commands(suggestion=""))
    for value in goal.options:
        if value not in chosen and value in session.labels and click(value) in commands:
            # Two options may share a value, and the page then offers one of them: chosen is chosen.
            return click(value)
    return click(pages.BUY)


def _walk_results(session: Session, *, target: Product) -> str:
    number = session.found.index(target) // pages.PAGE_SIZE + 1
    if number == session.number:
        return click(target.asin)
    return click(pages.NEXT if number > session.number else pages.PREVIOUS)


def _err(session: Session, *, rng: np.random.Generator) -> str:
    if session.place is Place.ITEM and rng.random() < 0.5:
        return click(pages.BUY)
    words = search_words(session.goal.instruction).split()
    kept = [word for word in words if rng.random() < 0.5] or words[:1] or ["anything"]
    commands = list(session.commands(suggestion=" ".join(kept)))
    if session.place is not Place.SEARCH:
        commands.append(f"search[{' '.join(kept)}]")
    commands.append(click("add to cart"))
    return commands[int(rng.integers(len(commands)))]


__all__ = ["Explorer", "OpenSession", "Oracle", "click", "good_query", "search_words"]
