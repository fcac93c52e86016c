"""The official 1,000 products, from decoded search documents back into WebShop's own file form."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any


def item_of(document: dict[str, Any]) -> dict[str, Any]:
    """The entry of `items_shuffle.json` that a search document was made from."""
    product = document["product"]
    prices = product["pricing"]
    # A product without a price was given this very one when the document was written.
    pricing = "" if prices == [100.0] else " to ".join(f"${price}" for price in prices)
    fields = (
        "asin name full_description small_description category query product_category "
        "customization_options images"
    )
    return {**{name: product[name] for name in fields.split()}, "pricing": pricing}


def write_catalogue(folder: Path, *, documents: Path, instructions: Path) -> Path:
    """A catalogue folder of the documents, their instructions and what people wrote of them."""
    with lzma.open(documents, "rt", encoding="utf-8") as file:
        entries = json.load(file)
    items = [item_of(entry) for entry in entries]
    human = {
        entry["id"]: entry["product"]["instructions"]
        for entry in entries
        if "instructions" in entry["product"]
    }
    (folder / "items_shuffle_1000.json").write_text(json.dumps(items), encoding="utf-8")
    (folder / "items_ins_v2_1000.json").write_bytes(instructions.read_bytes())
    (folder / "items_human_ins.json").write_text(json.dumps(human), encoding="utf-8")
    return folder
