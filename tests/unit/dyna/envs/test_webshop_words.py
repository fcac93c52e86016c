"""Words of queries and titles, and what is left of a document's length in one byte."""

from __future__ import annotations

import time

import pytest

from dyna.envs.webshop.analysis import MAX_TOKEN_LENGTH, STOPWORDS, split_words
from dyna.envs.webshop.nouns import content_words, find_tagger
from dyna.envs.webshop.search import SearchIndex, stored_length


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Women's don't O'Neil's", "women don't o'neil"),
        ("women\u2019s \u2018quoted\u2019", "women quoted"),
        ("description:solid finish/frame wi-fi", "description:solid finish frame wi fi"),
        ("14.125 1,234.50 1;2 3:4 5'8 1.,2", "14.125 1,234.50 1;2 3 4 5'8 1 2"),
        ("u.s.a. x.y 1.x x.1 b;c d,e", "u.s.a x.y 1 x x 1 b c d e"),
        ("x_y _ __ b_1", "x_y b_1"),
        ('20"x30" 5mm', "20 x30 5mm"),
        ("\u2605star \u25cf dot \u00ae 5\u2122", "\u2605 star dot \u00ae 5 \u2122"),
        ("\u65e5\u672c \u30ab\u30bf \ud55c\uad6d", "\u65e5 \u672c \u30ab\u30bf \ud55c\uad6d"),
        ("x\u00b2 \u00bd \u2776pack", "x pack"),
        ("cafe\u0301 mid\u00b7dot", "cafe\u0301 mid\u00b7dot"),
        ("", ""),
        ("... --- !!!", ""),
    ],
)
def test_words_are_cut_as_lucene_cuts_them(text: str, words: str) -> None:
    assert split_words(text) == words.split()


def test_a_very_long_word_is_cut() -> None:
    assert [len(word) for word in split_words("a" * 600)] == [MAX_TOKEN_LENGTH] * 2 + [90]


@pytest.mark.parametrize(
    "pattern", ["[", "a", "a.", "'", "_", "1,", "\u200d", "a:", "\u2605\u200d"]
)
def test_no_text_takes_long(pattern: str) -> None:
    begin = time.perf_counter()
    split_words(pattern * (100_000 // len(pattern)))
    assert time.perf_counter() - begin < 2.0


def test_there_are_33_stopwords() -> None:
    assert len(STOPWORDS) == 33


def test_lengths_lose_what_lucene_loses() -> None:
    assert [stored_length(n) for n in range(41)] == [*range(40), 40]
    assert [stored_length(n) for n in (41, 42, 55, 56, 59, 60, 100)] == [40, 42, 54, 56, 56, 60, 96]
    lengths = [stored_length(n) for n in range(5000)]
    assert lengths == sorted(lengths)
    assert all(known <= true for true, known in enumerate(lengths))


def test_content_words_are_what_a_title_is_about() -> None:
    title = "Velmora's Oak Wall Shelf, Set of 2, for Your Living Room, 24 inch - 5mm w/ Hooks"
    assert content_words(title) == [
        "velmora",
        "oak",
        "wall",
        "shelf",
        "set",
        "living",
        "room",
        "5mm",
        "hooks",
    ]


def test_a_tagger_of_ones_own_is_found_by_name() -> None:
    assert find_tagger("") is content_words
    assert find_tagger("dyna.envs.webshop.analysis:split_words") is split_words


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("spacy", ValueError),
        (":x", ValueError),
        ("no_such_module:x", ValueError),
        ("dyna.envs.webshop.analysis:no_such_name", ValueError),
        ("dyna.envs.webshop.analysis:STOPWORDS", TypeError),
    ],
)
def test_a_tagger_that_is_none_is_refused(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="tagger"):
        find_tagger(name)


def test_an_index_needs_an_id_for_every_document() -> None:
    pytest.importorskip("bm25s", reason="the webshop extra is not installed")
    with pytest.raises(ValueError, match="2 documents need as many ids"):
        SearchIndex(["a", "b"], ids=["1"])
