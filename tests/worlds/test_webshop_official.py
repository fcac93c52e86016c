"""WebShop over its own 1,000 products: goals, documents, and rankings that Lucene gave."""

from __future__ import annotations

import asyncio
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from dyna.envs.webshop import WebShopWorld
from dyna.files import read_json
from dyna.types import Action, Context, Turn
from experiments.webshop_ranking import main as compare_rankings
from experiments.webshop_ranking import measure
from tests.worlds.official_data import official
from tests.worlds.webshop_documents import write_catalogue

for _package in ("bm25s", "Stemmer", "rapidfuzz"):
    pytest.importorskip(_package, reason="the webshop extra is not installed")

RANKINGS = Path(__file__).parent / "webshop_lucene_rankings.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_catalogue(
        tmp_path_factory.mktemp("webshop"),
        documents=official("webshop_1000_products.json.xz"),
        instructions=official("webshop_items_ins_v2_1000.json"),
    )


@pytest.fixture(scope="module")
def world(folder: Path) -> WebShopWorld:
    return WebShopWorld(data=str(folder))


def test_products_are_read_as_webshop_read_them(world: WebShopWorld) -> None:
    with lzma.open(official("webshop_1000_products.json.xz"), "rt", encoding="utf-8") as file:
        documents: list[dict[str, Any]] = json.load(file)
    assert len(world.shop.products) == len(documents) == 1000
    for product, document in zip(world.shop.products, documents, strict=True):
        theirs = document["product"]
        assert product.asin == theirs["asin"]
        assert product.document == document["contents"]
        assert {name: list(v) for name, v in product.options.items()} == theirs["options"]
        assert list(product.price_range) == theirs["pricing"]
        assert product.price_tag == theirs["Price"]
        assert list(product.attributes) == theirs["Attributes"]
        assert product.query == theirs["query"].lower().strip()


def test_415_instructions_make_6910_goals(world: WebShopWorld) -> None:
    asked = [product for product in world.shop.products if product.synthetic is not None]
    assert (len(asked), len(world.shop.goals)) == (415, 6910)


def test_the_splits_are_the_usual_ones_without_repeated_goals(world: WebShopWorld) -> None:
    fingerprints = [goal.fingerprint for goal in world.shop.goals]
    assert len(set(fingerprints)) == 6901
    assert world.splits == {"train": 5402, "dev": 999, "test": 500}
    taken = [
        world.fingerprint(task)
        for split, num in world.splits.items()
        for task in world.tasks(split=split, num=num or 0)
    ]
    assert len(taken) == len(set(taken)) == 6901


def test_human_goals_are_those_with_attributes(folder: Path) -> None:
    world = WebShopWorld(data=str(folder), goals="human")
    wishes = [wish for product in world.shop.products for wish in product.human]
    assert len(world.shop.goals) == sum(bool(wish.attributes) for wish in wishes) > 0


def test_searches_rank_as_lucene_ranks(world: WebShopWorld) -> None:
    found = measure(world.shop.products, rankings=read_json(RANKINGS))
    assert found.num_queries == 300
    assert found.overlap >= 0.95
    # Measured: every ranking equal, to the last place.
    assert (found.same_first, found.overlap, found.same_order) == (1.0, 1.0, 1.0)


def test_the_command_prints_the_agreement(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_rankings([str(RANKINGS), str(folder)]) == 0
    assert "300 queries: same first 1.000, top-10 overlap 1.000" in capsys.readouterr().out
    assert compare_rankings([]) == 2


def test_the_expert_buys_what_official_goals_ask_for(world: WebShopWorld) -> None:
    async def play() -> list[float]:
        env, rewards = world.make(), list[float]()
        for task in world.tasks(split="test", num=300):
            start = await env.reset(task)
            turns: list[Turn] = []
            while not turns or turns[-1].outcome.stop is None:
                context = Context(task=task, start=start, turns=turns, length=len(turns))
                action = Action(command=world.expert(context))
                turns.append(Turn(action=action, outcome=await env.step(action)))
                assert len(turns) < 30
            rewards.append(turns[-1].outcome.reward)
        return rewards

    rewards = asyncio.run(play())
    assert rewards == [1.0] * 300
