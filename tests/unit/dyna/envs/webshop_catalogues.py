"""Small catalogues in WebShop's file formats, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def item(asin: Any = "ZTEST00001", **changes: Any) -> dict[str, Any]:
    """One entry of `items_shuffle.json`; a change to `...` leaves the field out."""
    entry: dict[str, Any] = {
        "asin": asin,
        "name": "Oak Wall Shelf",
        "full_description": "A shelf of oak.",
        "small_description": ["Solid Oak.", "Easy to hang."],
        "pricing": "$35.50",
        "category": "garden",
        "query": " Wall Shelves ",
        "product_category": "Home \u203a Furniture \u203a Shelves",
        "customization_options": {
            "Color": [{"value": " Light Oak "}, {"value": "Black/White"}],
            "Size": [{"value": "S"}, {"value": "L"}],
            "Finish": None,
        },
        "images": ["https://invented.example/1.jpg"],
    }
    entry.update(changes)
    return {name: value for name, value in entry.items() if value is not ...}


def asked(text: str = "Find me easy hang wall shelves") -> dict[str, Any]:
    """One entry of `items_ins_v2.json`."""
    return {
        "attributes": ["easy hang", "solid oak"],
        "instruction": text,
        "instruction_attributes": ["easy hang"],
    }


def write(
    folder: Path,
    *,
    items: Any,
    instructions: Any = None,
    human: Any = None,
    ending: str = "",
) -> Path:
    """Write a catalogue's files; without `instructions` every product gets the same one."""
    if instructions is None:
        instructions = {entry["asin"]: asked() for entry in items}
    (folder / f"items_shuffle{ending}.json").write_text(json.dumps(items), encoding="utf-8")
    (folder / f"items_ins_v2{ending}.json").write_text(json.dumps(instructions), encoding="utf-8")
    if human is not None:
        (folder / "items_human_ins.json").write_text(json.dumps(human), encoding="utf-8")
    return folder
