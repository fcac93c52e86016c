"""The invented catalogue is written by its script, byte for byte, and reads like a shop's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from dyna.envs.webshop.catalogue import load_catalogue
from dyna.envs.webshop.files import INVENTED, find_files

FILES = ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json")
ROOT = Path(__file__).resolve().parents[4]


def test_the_script_writes_what_ships(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "dyna.envs.webshop.invention", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        timeout=60,
    )
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (INVENTED / name).read_bytes(), (
            f"{name} is not what the script writes; run python -m dyna.envs.webshop.invention"
        )


def test_what_ships_is_small_and_ascii() -> None:
    contents = [(INVENTED / name).read_bytes() for name in (*FILES, "goods.yaml")]
    assert sum(map(len, contents)) < 600_000
    assert all(content.isascii() for content in contents)


def test_there_are_goods_of_every_category() -> None:
    products = load_catalogue(find_files(""))
    assert len(products) >= 300
    categories = Counter(product.category for product in products)
    assert set(categories) == {"beauty", "electronics", "fashion", "garden", "grocery"}
    assert min(categories.values()) >= 50
    assert len({product.title for product in products}) == len(products)
    assert len({product.query for product in products}) >= 30
    assert any(len(product.price_range) == 2 for product in products)
    assert all(product.options and product.description for product in products)


def test_what_is_asked_for_is_for_sale() -> None:
    products = load_catalogue(find_files(""))
    asked = [product for product in products if product.synthetic is not None]
    assert 0.4 < len(asked) / len(products) < 0.8
    for product in asked:
        assert product.synthetic is not None
        assert set(product.synthetic.attributes) <= set(product.attributes)
    values = {product.asin: set().union(*product.options.values()) for product in products}
    wishes = [(product, wish) for product in products for wish in product.human]
    assert len(wishes) > 100
    for product, wish in wishes:
        assert set(wish.options) <= values[product.asin]
        assert wish.attributes and set(wish.attributes) <= set(product.attributes)
