"""Writes the invented catalogue that ships with this package, in WebShop's own files.

    python -m dyna.envs.webshop.invention [FOLDER]

The words come from `invented/goods.yaml`, the choices from one seed: the files come out the same,
byte for byte, wherever they are written. No product, brand or customer exists.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dyna.envs.webshop.catalogue import CATEGORY_SEPARATOR
from dyna.envs.webshop.files import INVENTED

SEED = 2022
PER_KIND = 11
_SHARE_ASKED = 0.6
"""Of the products, how many have a synthetic instruction."""
_SHARE_HUMAN = 0.3
_SHARE_RANGE = 0.15
_SHARE_UNPRICED = 0.03
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"

_ADJECTIVE_LINES = (
    "{a} by design: this {h} is {a} and stays that way.",
    "{a}: we tested the {h} for months so that you can count on it.",
    "Our {s} {h} is {a}, which saves you time on busy days.",
)
_PART_LINES = (
    "Made with {a}, the {h} feels as good as it looks.",
    "{a} included: a small thing that you will notice every day.",
    "The {s} {h} comes with {a}; nothing else to buy.",
)
_USE_LINES = (
    "Great for {a}, and just as welcome as a present.",
    "We had {a} in mind when we drew the first {h}.",
    "Ideal for {a}: customers keep coming back for a second one.",
)
_CLOSING_LINES = (
    "Please check the chosen {o} before you order.",
    "Questions? {b} answers every message within one day.",
    "Packed in plain recycled paper by {b}.",
)
_DESCRIPTIONS = (
    "{b} has made {q} in a small workshop since the beginning. This {s} {h} is {a} and was made "
    "for {u}. It comes with {p}, and it will be with you for years.",
    "Looking for {q} that keep their promise? The {s} {h} by {b} is {a}, has {p}, and does well "
    "for {u}.",
    "A {s} {h} with {p}. {b} chose what is {a} and left out the rest. Customers like it for {u}.",
    "The {b} {h}: {s}, {a}, with {p}. Take it for {u}, or give it to somebody who will.",
)
_WISHES = (
    "i am looking for {a} {q} with {p}{o}.",
    "i need a {s} {h} that is {a}{o}.",
    "can you find me a {h} for {u}? it should be {a}{o}",
    "show me {q} that come with {p} and are {a}{o}.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What was decided about one product before it is put into words."""

    kind: dict[str, Any]
    brand: str
    style: str
    head: str
    adjectives: tuple[str, ...]
    parts: tuple[str, ...]
    uses: tuple[str, ...]
    options: dict[str, tuple[str, ...]]

    def words(self, attribute: str = "") -> dict[str, str]:
        """What the templates are filled with."""
        return {
            "a": attribute or self.adjectives[0],
            "b": self.brand,
            "h": self.head,
            "o": " and ".join(self.options) or "item",
            "p": self.parts[0],
            "q": self.kind["query"],
            "s": self.style,
            "u": self.uses[0],
        }


def write_catalogue(folder: Path) -> None:
    """Write the three files into `folder`, which must exist."""
    items, asked, human = invent()
    for name, value in (
        ("items_shuffle.json", items),
        ("items_ins_v2.json", asked),
        ("items_human_ins.json", human),
    ):
        (folder / name).write_text(_one_entry_per_line(value), encoding="ascii")


def invent() -> tuple[list[dict[str, Any]], dict[str, Any], dict[str, Any]]:
    """Products, their attributes with synthetic instructions, and what people asked for."""
    goods = yaml.safe_load((INVENTED / "goods.yaml").read_text(encoding="ascii"))
    rng = random.Random(SEED)
    drafts = [
        draft
        for kind in goods["kinds"]
        for draft in _draft_kind(kind, brands=goods["brands"], rng=rng)
    ]
    rng.shuffle(drafts)
    items: list[dict[str, Any]] = []
    asked: dict[str, Any] = {}
    human: dict[str, Any] = {}
    for draft in drafts:
        asin = "Z" + "".join(rng.choices(_LETTERS, k=9))
        items.append(_item(draft, asin=asin, rng=rng))
        asked[asin] = _attributes(draft, rng=rng)
        if rng.random() < _SHARE_HUMAN:
            wishes = [_wish(draft, asin=asin, rng=rng) for _ in range(rng.randint(1, 2))]
            human[asin] = wishes
    return items, asked, human


def _draft_kind(kind: dict[str, Any], *, brands: Sequence[str], rng: random.Random) -> list[Draft]:
    styles, heads = _list(kind["styles"]), _list(kind["heads"])
    looks = [(style, head) for style in styles for head in heads]
    rng.shuffle(looks)
    makers = rng.sample(brands, PER_KIND)
    return [
        Draft(
            kind=kind,
            brand=brand,
            style=style,
            head=head,
            adjectives=_some(kind["adjectives"], low=2, high=3, rng=rng),
            parts=_some(kind["parts"], low=1, high=2, rng=rng),
            uses=_some(kind["uses"], low=1, high=2, rng=rng),
            options=_options(kind, rng=rng),
        )
        for brand, (style, head) in zip(makers, looks, strict=False)
    ]


def _options(kind: dict[str, Any], *, rng: random.Random) -> dict[str, tuple[str, ...]]:
    """Some of the values of each option of the kind, in the order of the kind."""
    lists = {"color": kind.get("colors"), "size": kind.get("sizes")}
    if "extra" in kind:
        name, _, values = kind["extra"].partition(": ")
        lists[name] = values
    options: dict[str, tuple[str, ...]] = {}
    for name, text in lists.items():
        if text is not None:
            values = _list(text)
            chosen = set(rng.sample(values, rng.randint(2, min(5, len(values)))))
            options[name] = tuple(value for value in values if value in chosen)
    return options


def _item(draft: Draft, *, asin: str, rng: random.Random) -> dict[str, Any]:
    words = draft.words()
    bullets = [
        rng.choice(lines).format(**draft.words(attribute))
        for lines, attributes in (
            (_ADJECTIVE_LINES, draft.adjectives),
            (_PART_LINES, draft.parts),
            (_USE_LINES, draft.uses),
        )
        for attribute in attributes
    ]
    rng.shuffle(bullets)
    bullets.append(rng.choice(_CLOSING_LINES).format(**words))
    levels = draft.kind["path"].split(" > ")
    return {
        "asin": asin,
        "name": _title(draft, rng=rng),
        "full_description": _sentence(rng.choice(_DESCRIPTIONS).format(**words)),
        "small_description": [_sentence(bullet) for bullet in bullets],
        "pricing": _pricing(draft.kind["prices"], rng=rng),
        "category": draft.kind["category"],
        "query": draft.kind["query"],
        "product_category": f" {CATEGORY_SEPARATOR} ".join(levels),
        "customization_options": {
            name.title(): [{"value": value.title()} for value in values]
            for name, values in draft.options.items()
        },
        "images": [f"https://invented.example/{asin.lower()}.jpg"],
    }


def _title(draft: Draft, *, rng: random.Random) -> str:
    thing = f"{draft.brand} {draft.style.title()} {draft.head.title()}"
    extras = [
        draft.adjectives[0].title(),
        f"with {draft.parts[0].title()}",
        f"for {draft.uses[0].title()}",
    ]
    first_value = next((values[0] for values in draft.options.values()), "")
    if rng.random() < 0.4 and first_value:
        extras.append(first_value.title())
    return ", ".join([thing, *extras])


def _pricing(prices: Sequence[float], *, rng: random.Random) -> str:
    low, high = prices
    price = rng.uniform(low, high)
    if rng.random() < _SHARE_UNPRICED:
        return ""
    if rng.random() < _SHARE_RANGE:
        return f"${price:.2f} to ${price * rng.uniform(1.2, 1.8):.2f}"
    return f"${price:.2f}"


def _attributes(draft: Draft, *, rng: random.Random) -> dict[str, Any]:
    entry: dict[str, Any] = {"attributes": [*draft.adjectives, *draft.parts, *draft.uses]}
    if rng.random() < _SHARE_ASKED:
        before = list(draft.adjectives[: rng.randint(1, 2)])
        after = list(draft.parts[: rng.randint(0, 1)])
        use = list(draft.uses[: rng.randint(0, 1)])
        text = f"Find me {', '.join(before)} {draft.kind['query']}"
        text += f" with {after[0]}" if after else ""
        text += f" for {use[0]}" if use else ""
        entry["instruction"] = text
        entry["instruction_attributes"] = [*before, *after, *use]
    return entry


def _wish(draft: Draft, *, asin: str, rng: random.Random) -> dict[str, Any]:
    """One entry of `items_human_ins.json`."""
    chosen = {name: rng.choice(values) for name, values in draft.options.items()}
    named = dict(rng.sample(sorted(chosen.items()), rng.randint(0, len(chosen))))
    options = "".join(f", and the {name} should be {value}" for name, value in named.items())
    template = rng.choice(_WISHES)
    words = {**draft.words(rng.choice(draft.adjectives)), "o": options}
    asked = {"a": words["a"], "p": words["p"], "u": words["u"]}
    return {
        "asin": asin,
        "instruction": template.format(**words).lower(),
        "attributes": [*draft.adjectives, *draft.parts, *draft.uses],
        "options": [f"{name}: {value}" for name, value in chosen.items()],
        "instruction_attributes": [
            value for field, value in asked.items() if f"{{{field}}}" in template
        ],
        "instruction_options": list(named.values()),
    }


def _some(text: str, *, low: int, high: int, rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.sample(_list(text), rng.randint(low, high)))


def _list(text: str) -> list[str]:
    return text.split("|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _one_entry_per_line(value: list[Any] | dict[str, Any]) -> str:
    """JSON that a diff can be read of."""
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(json.dumps, value)) + "\n]\n"
    lines = (f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in value.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0]) if arguments else INVENTED
    folder.mkdir(parents=True, exist_ok=True)
    write_catalogue(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
