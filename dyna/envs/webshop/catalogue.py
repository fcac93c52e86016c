"""A shop's goods, read from WebShop's own files: what is sold, and what people ask for.

`items_shuffle*.json` lists the products, `items_ins_v2*.json` their attributes and one synthetic
instruction each, `items_human_ins.json` what people wrote. They are read as WebShop reads them;
what it would stumble over is refused by file, entry and field.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dyna.envs.webshop.files import CatalogueFiles
from dyna.files import DamagedFileError, read_json

_log = logging.getLogger(__name__)

DEFAULT_PRICE = 100.0
"""What a product without a price costs, in dollars."""
NO_ATTRIBUTE = "DUMMY_ATTR"
MAX_ASIN_LENGTH = 10
_HALF_PAIR = re.compile("[\ud800-\udfff]")
CATEGORY_SEPARATOR = "\u203a"
"""Stands between the levels of `product_category`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What someone asks for: the words, and what they require.

    Example: `Instruction(text="Find me easy care curtains", attributes=("easy care",))`
    """

    text: str
    attributes: tuple[str, ...]
    options: tuple[str, ...] = ()
    """Values that must be chosen; of human instructions alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Example: `Product(asin="B0TEST0001", title="Oak Shelf", description="", bullets=("Solid.",),
    price_range=(35.0,), price_tag="$35.0", category="garden", query="shelves",
    product_category="Home & Kitchen", options={"color": ("oak",)}, attributes=("easy clean",))`
    """

    asin: str
    title: str
    description: str
    bullets: tuple[str, ...]
    price_range: tuple[float, ...]
    """One price, or the two between which the price lies, in dollars."""
    price_tag: str
    category: str
    query: str
    """The search under which the shop's owner found it: its kind."""
    product_category: str
    options: Mapping[str, tuple[str, ...]]
    attributes: tuple[str, ...]
    synthetic: Instruction | None = None
    human: tuple[Instruction, ...] = ()

    @property
    def document(self) -> str:
        """What the search engine knows of it."""
        options = ", and ".join(f"{name}: {', '.join(v)}" for name, v in self.options.items())
        first = self.bullets[0] if self.bullets else ""
        return " ".join([self.title, self.description, first, options]).lower()


class EntryError(DamagedFileError):
    """One entry of a catalogue file that cannot be used."""


def load_catalogue(files: CatalogueFiles, *, num_products: int = 0) -> list[Product]:
    """The products in the order of the file; of the first `num_products` entries, 0 for all.

    Ids seen before, longer than 10 characters or `nan` are passed over, as WebShop does, and
    counted in the log. Raises `FileNotFoundError`, or `DamagedFileError` naming file and entry.
    """
    entries = _entries(files.items)
    instructions = _object(files.instructions)
    human: Mapping[str, Any] = _object(files.human) if files.human is not None else {}
    chosen = entries[:num_products] if num_products else entries
    products: dict[str, Product] = {}
    num_repeated = num_without_id = 0
    for index, entry in enumerate(chosen):
        record = Record(entry, where=f"{files.items}, entry {index}")
        asin = record.text("asin")
        if asin in ("", "nan") or len(asin) > MAX_ASIN_LENGTH:
            num_without_id += 1
        elif asin in products:
            num_repeated += 1
        else:
            products[asin] = _product(
                record,
                asked=Record(instructions.get(asin, {}), where=f"{files.instructions}, {asin}"),
                human=_human(human.get(asin, []), where=f"{files.human}, {asin}"),
            )
    if num_repeated or num_without_id:
        _log.warning(
            "%s: passed over %d entries whose id came before and %d without a usable id",
            files.items,
            num_repeated,
            num_without_id,
        )
    if not products:
        raise DamagedFileError(f"{files.items} holds no product; give a catalogue that has some")
    return list(products.values())


class Record:
    """One JSON object of a catalogue file; fields are read with errors that say where they are."""

    def __init__(self, value: Any, *, where: str) -> None:
        self.where = where
        if not isinstance(value, dict):
            raise EntryError(f"{where}: must be a JSON object, got {_short(value)}")
        self._fields = cast("dict[str, Any]", value)

    def get(self, field: str) -> Any:
        return self._fields.get(field)

    def text(self, field: str) -> str:
        if field not in self._fields:
            raise EntryError(f"{self.where}: field {field!r} is missing")
        return self.check_text(self._fields[field], field=field)

    def texts(self, field: str) -> tuple[str, ...]:
        """A list of strings; a single string counts as a list of one."""
        if field not in self._fields:
            raise EntryError(f"{self.where}: field {field!r} is missing")
        value = self._fields[field]
        items = cast("list[Any]", value) if isinstance(value, list) else [value]
        return tuple(self.check_text(item, field=field) for item in items)

    def check_text(self, value: Any, *, field: str) -> str:
        if not isinstance(value, str):
            raise EntryError(f"{self.where}: {field!r} must be text, got {_short(value)}")
        if _HALF_PAIR.search(value):
            raise EntryError(f"{self.where}: {field!r} holds half of a surrogate pair, not text")
        return value


def _product(record: Record, *, asked: Record, human: tuple[Instruction, ...]) -> Product:
    prices = _prices(record)
    attributes = (
        asked.texts("attributes") if asked.get("attributes") is not None else (NO_ATTRIBUTE,)
    )
    return Product(
        asin=record.text("asin"),
        title=record.text("name"),
        description=record.text("full_description"),
        bullets=record.texts("small_description"),
        price_range=prices or (DEFAULT_PRICE,),
        price_tag=" to ".join(f"${price}" for price in prices or (DEFAULT_PRICE,)),
        category=record.text("category"),
        query=record.text("query").lower().strip(),
        product_category=record.text("product_category"),
        options=_options(record),
        attributes=attributes,
        synthetic=_synthetic(asked),
        human=human,
    )


def _prices(record: Record) -> tuple[float, ...]:
    """ "$5.99" is one price and "$5.99 to $12.50" two; no price is none."""
    value = record.get("pricing")
    if value is None or value == "":
        return ()
    text = record.check_text(value, field="pricing")
    numbers = [re.sub(r"[^\d.]", "", part) for part in text.split("$")[1:3]]
    if not numbers or not all(re.fullmatch(r"\d+\.?\d*|\.\d+", n, re.ASCII) for n in numbers):
        raise EntryError(
            f"{record.where}: 'pricing' must read like '$5.99', '$5.99 to $12.50' or be empty, "
            f"got {_short(text)}"
        )
    return tuple(map(float, numbers))


def _options(record: Record) -> dict[str, tuple[str, ...]]:
    groups = record.get("customization_options")
    if groups is None or groups == "":
        return {}
    if not isinstance(groups, dict):
        raise EntryError(
            f"{record.where}: 'customization_options' must be an object of lists, "
            f"got {_short(groups)}"
        )
    options: dict[str, tuple[str, ...]] = {}
    for name, values in cast("dict[str, Any]", groups).items():
        if values is None:
            continue
        if not isinstance(values, list):
            raise EntryError(f"{record.where}: option {name!r} must be a list or null")
        where = f"{record.where}, option {name!r}"
        options[name.lower()] = tuple(
            Record(value, where=where).text("value").strip().replace("/", " | ").lower()
            for value in cast("list[Any]", values)
        )
    return options


def _synthetic(asked: Record) -> Instruction | None:
    if asked.get("instruction") is None:
        return None
    attributes = asked.texts("instruction_attributes")
    if not attributes:
        raise EntryError(f"{asked.where}: an instruction needs 'instruction_attributes'")
    return Instruction(text=asked.text("instruction"), attributes=attributes)


def _human(value: Any, *, where: str) -> tuple[Instruction, ...]:
    if not isinstance(value, list):
        raise EntryError(f"{where}: must be a list of instructions, got {_short(value)}")
    records = [
        Record(entry, where=f"{where}, {index}")
        for index, entry in enumerate(cast("list[Any]", value))
    ]
    return tuple(
        Instruction(
            text=record.text("instruction"),
            attributes=record.texts("instruction_attributes"),
            options=record.texts("instruction_options"),
        )
        for record in records
    )


def _entries(path: Path) -> Sequence[Any]:
    value = read_catalogue_file(path)
    if not isinstance(value, list):
        raise DamagedFileError(f"{path} must hold a list of products, got {_short(value)}")
    return cast("list[Any]", value)


def _object(path: Path) -> Mapping[str, Any]:
    value = read_catalogue_file(path)
    if not isinstance(value, dict):
        raise DamagedFileError(f"{path} must hold an object keyed by asin, got {_short(value)}")
    return cast("dict[str, Any]", value)


def read_catalogue_file(path: Path) -> Any:
    """Raises `DamagedFileError` for what is cut off, not JSON, not UTF-8 or nested too deeply."""
    try:
        return read_json(path)
    except (UnicodeDecodeError, RecursionError, DamagedFileError) as error:
        raise DamagedFileError(
            f"{path} is damaged or cut short ({error}); download it again"
        ) from error


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


__all__ = [
    "CATEGORY_SEPARATOR",
    "DEFAULT_PRICE",
    "NO_ATTRIBUTE",
    "EntryError",
    "Instruction",
    "Product",
    "load_catalogue",
    "read_catalogue_file",
]
