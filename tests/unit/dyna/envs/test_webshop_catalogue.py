"""A shop's catalogue is read as WebShop reads it, and refused by name where it is damaged."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from typing import Any

import pytest

from dyna.envs.webshop.catalogue import NO_ATTRIBUTE, EntryError, load_catalogue
from dyna.envs.webshop.files import INVENTED, find_files
from dyna.files import DamagedFileError
from tests.unit.dyna.envs.webshop_catalogues import asked, item, write


def load(folder: Path, **options: Any) -> list[Any]:
    return load_catalogue(find_files(str(folder)), **options)


def test_a_product_is_read_as_webshop_reads_it(tmp_path: Path) -> None:
    [product] = load(write(tmp_path, items=[item()]))
    assert product.title == "Oak Wall Shelf"
    assert product.query == "wall shelves"
    assert product.options == {"color": ("light oak", "black | white"), "size": ("s", "l")}
    assert (product.price_range, product.price_tag) == ((35.5,), "$35.5")
    assert product.attributes == ("easy hang", "solid oak")
    assert product.document == (
        "oak wall shelf a shelf of oak. solid oak. color: light oak, black | white, and size: s, l"
    )


@pytest.mark.parametrize(
    ("pricing", "prices", "tag"),
    [
        ("", (100.0,), "$100.0"),
        (None, (100.0,), "$100.0"),
        (..., (100.0,), "$100.0"),
        ("$5", (5.0,), "$5.0"),
        ("$1,299.99", (1299.99,), "$1299.99"),
        ("$12.50 to $20.00", (12.5, 20.0), "$12.5 to $20.0"),
        ("$1 to $2 to $3", (1.0, 2.0), "$1.0 to $2.0"),
    ],
)
def test_prices(tmp_path: Path, pricing: Any, prices: tuple[float, ...], tag: str) -> None:
    [product] = load(write(tmp_path, items=[item(pricing=pricing)]))
    assert (product.price_range, product.price_tag) == (prices, tag)


def test_ids_seen_before_or_unusable_are_passed_over_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = [item(), item(name="Another"), item("nan"), item("ZTOOLONG0001"), item("ZTEST00002")]
    with caplog.at_level(logging.WARNING):
        products = load(write(tmp_path, items=items))
    assert [(p.asin, p.title) for p in products] == [
        ("ZTEST00001", "Oak Wall Shelf"),
        ("ZTEST00002", "Oak Wall Shelf"),
    ]
    assert "1 entries whose id came before and 2 without" in caplog.text


def test_num_products_takes_the_first_entries(tmp_path: Path) -> None:
    items = [item(), item(), item("ZTEST00002")]
    assert len(load(write(tmp_path, items=items), num_products=2)) == 1


def test_one_string_of_bullets_null_options_and_unknown_attributes(tmp_path: Path) -> None:
    entry = item(small_description="One point.", customization_options="")
    [product] = load(write(tmp_path, items=[entry], instructions={}))
    assert (product.bullets, product.options) == (("One point.",), {})
    assert (product.attributes, product.synthetic) == ((NO_ATTRIBUTE,), None)


def test_markup_stays_as_it_is(tmp_path: Path) -> None:
    title = "<b>Shelf</b> &amp; <script>alert(1)</script> {{ goal }}"
    [product] = load(write(tmp_path, items=[item(name=title)]))
    assert product.title == title


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (item(name=...), "entry 1: field 'name' is missing"),
        (item(name="oak \ud800"), "entry 1: 'name' holds half of a surrogate pair"),
        (item(name=7), "entry 1: 'name' must be text, got 7"),
        (item(asin=None), "entry 1: 'asin' must be text, got None"),
        (item(full_description=None), "'full_description' must be text"),
        (item(small_description=[1]), "'small_description' must be text"),
        (item(pricing="12.50"), "'pricing' must read like '$5.99'"),
        (item(pricing="$1.2.3"), "'pricing' must read like '$5.99'"),
        (item(pricing=12.5), "'pricing' must be text"),
        (item(customization_options=["red"]), "'customization_options' must be an object"),
        (item(customization_options={"Size": "s"}), "option 'Size' must be a list or null"),
        (item(customization_options={"Size": ["s"]}), "option 'Size': must be a JSON object"),
        (item(customization_options={"Size": [{}]}), "field 'value' is missing"),
        ("shelf", "entry 1: must be a JSON object, got 'shelf'"),
        (None, "entry 1: must be a JSON object, got None"),
    ],
)
def test_a_damaged_entry_is_named(tmp_path: Path, entry: Any, words: str) -> None:
    folder = write(tmp_path, items=[item("ZTEST00009"), entry], instructions={})
    with pytest.raises(EntryError) as error:
        load(folder)
    assert words in str(error.value)
    assert "items_shuffle.json, entry 1" in str(error.value)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ([], "must be a JSON object"),
        ({"attributes": "one"}, None),
        ({"attributes": [1]}, "'attributes' must be text"),
        ({"instruction": "x"}, "field 'instruction_attributes' is missing"),
        ({"instruction": "x", "instruction_attributes": []}, "needs 'instruction_attributes'"),
        ({"instruction": 3, "instruction_attributes": ["a"]}, "'instruction' must be text"),
    ],
)
def test_a_damaged_instruction_is_named(tmp_path: Path, record: Any, words: str | None) -> None:
    folder = write(tmp_path, items=[item()], instructions={"ZTEST00001": record})
    if words is None:
        assert load(folder)[0].attributes == ("one",)
        return
    with pytest.raises(EntryError) as error:
        load(folder)
    assert words in str(error.value) and "items_ins_v2.json, ZTEST00001" in str(error.value)


@pytest.mark.parametrize(
    "value", [{"a": 1}, [1], [{"instruction": "x"}], [{**asked(), "instruction_options": [None]}]]
)
def test_a_damaged_human_instruction_is_named(tmp_path: Path, value: Any) -> None:
    folder = write(tmp_path, items=[item()], human={"ZTEST00001": value})
    with pytest.raises(EntryError, match=r"items_human_ins\.json, ZTEST00001"):
        load(folder)


def test_files_cut_anywhere_raise_a_clear_error(tmp_path: Path) -> None:
    """Half-downloaded: 20 cuts of each shipped file, none crashes, none passes for whole."""
    rng = random.Random(5)
    names = ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json")
    whole = {name: (INVENTED / name).read_bytes() for name in names}
    for name in names:
        for _ in range(20):
            for other in names:
                (tmp_path / other).write_bytes(whole[other])
            (tmp_path / name).write_bytes(whole[name][: rng.randrange(len(whole[name]) - 2)])
            with pytest.raises(DamagedFileError, match=name):
                load(tmp_path)


def test_bytes_changed_anywhere_load_or_are_refused(tmp_path: Path) -> None:
    rng = random.Random(6)
    folder = write(tmp_path, items=[item(), item("ZTEST00002")], human={"ZTEST00001": []})
    originals = {path: path.read_bytes() for path in sorted(folder.iterdir())}
    refused = 0
    for _ in range(250):
        path = rng.choice(list(originals))
        content = bytearray(originals[path])
        content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(bytes(content))
        try:
            assert load(folder)
        except DamagedFileError as error:
            assert "items_" in str(error)
            refused += 1
        path.write_bytes(originals[path])
    assert refused > 30


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"null", b"{}", b"[]", b"3", b"[" * 100_000])
def test_files_that_hold_no_catalogue(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path, items=[item()])
    (folder / "items_shuffle.json").write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"items_shuffle\.json"):
        load(folder)


def test_files_are_found_in_a_folder_or_beside_one_file(tmp_path: Path) -> None:
    write(tmp_path, items=[item()])
    assert find_files(str(tmp_path)).human is None
    write(tmp_path, items=[item()], human={}, ending="_1000")
    with pytest.raises(ValueError, match="give the items_shuffle file itself"):
        find_files(str(tmp_path))
    files = find_files(str(tmp_path / "items_shuffle_1000.json"))
    assert files.instructions.name == "items_ins_v2_1000.json"
    assert files.human is not None


def test_missing_files_say_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="neither a folder nor a file"):
        find_files(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=r"no items_shuffle\*\.json"):
        find_files(str(tmp_path))
    (tmp_path / "items_shuffle.json").write_text(json.dumps([item()]), encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"no items_ins_v2\*\.json"):
        find_files(str(tmp_path))
