"""Words as Lucene's English analyzer makes them, so that searches rank as WebShop's do.

Four steps, those of Anserini's default: cut the text by the word boundaries of Unicode's UAX #29
as Lucene's `StandardTokenizer` reads them, drop a possessive 's, drop Lucene's 33 stopwords, and
stem by Porter (1980) with the two departures of Porter's own later code, which Lucene has.
"""

# PyStemmer comes without types, with an extra.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

_STOPWORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with"
)
STOPWORDS = frozenset(_STOPWORDS.split())
"""`EnglishAnalyzer.ENGLISH_STOP_WORDS_SET` of Lucene."""

MAX_TOKEN_LENGTH = 255
"""A longer run of letters is cut into tokens of this length, as Lucene does."""

_EXTEND = "\u0300-\u036f\u200d\ufe00-\ufe0f\uff9e\uff9f"
"""Accents, joiners and variation selectors belong to the character before them."""
_SINGLE = "\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Hiragana and Han: every character is a token of its own."""
_NUMERALS = (
    "\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u2079\u2080-\u2089\u2150-\u215f\u2460-\u249b"
    "\u24ea-\u24ff\u2776-\u2793"
)
"""Raised, circled and broken numbers: alphanumeric to Python, no part of a word to Lucene."""
_LETTER = rf"[^\W\d_{_SINGLE}{_NUMERALS}\uff9e\uff9f][{_EXTEND}]*"
_DIGIT = rf"\d[{_EXTEND}]*"
_BETWEEN_LETTERS = ":\u00b7\u0387\u2027\ufe13\ufe55\uff1a"
_BETWEEN_DIGITS = ",;\u037e\u0589\u060c\u060d\u066c\u07f8\u2044\ufe10\ufe14\ufe50\ufe54\uff0c\uff1b"
_BETWEEN_BOTH = ".'\u2018\u2019\u2024\ufe52\uff07\uff0e"
_PICTURE = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe"
    "\u2600-\u2605\u2607-\u2612\u2614-\u2685\u2690-\u2705\u2708-\u2712\u2714\u2716\u271d\u2721"
    "\u2728\u2733\u2734\u2744\u2747\u274c\u274e\u2753-\u2757\u2763-\u2767\u2795-\u2797\u27a1"
    "\u27b0\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001f0ff\U0001f10d-\U0001f10f\U0001f12f\U0001f16c-\U0001f171"
    "\U0001f17e\U0001f17f\U0001f18e\U0001f191-\U0001f19a\U0001f1ad-\U0001f1e5\U0001f201-\U0001faff"
)
"""Unicode's Extended_Pictographic, which Lucene keeps as tokens of the kind <EMOJI>."""

_TOKEN = re.compile(
    rf"(?:{_LETTER}|{_DIGIT}|_)"
    rf"(?:(?:{_LETTER}|{_DIGIT}|_)"
    rf"|(?<=[^\W\d_{_EXTEND}])[{_BETWEEN_LETTERS}{_BETWEEN_BOTH}](?={_LETTER})"
    rf"|(?<=\d)[{_BETWEEN_DIGITS}{_BETWEEN_BOTH}](?=\d))*"
    rf"|[{_SINGLE}][{_EXTEND}]*"
    rf"|[{_PICTURE}][{_EXTEND}\U0001f3fb-\U0001f3ff]*"
    rf"(?:(?<=\u200d)[{_PICTURE}][{_EXTEND}\U0001f3fb-\U0001f3ff]*)*"
)
_POSSESSIVE = ("'s", "\u2019s", "\uff07s")
_WORDY = re.compile(rf"[^\W_{_EXTEND}]|[{_PICTURE}]")
_VOWEL_CONSONANT = re.compile(r"(?:[aeiou]|(?<=[^aeiou])y)[^aeiou]")


def split_words(text: str) -> list[str]:
    """The words of a text in lower case, possessives cut off, stopwords and all.

    Example: `split_words("Women's 14.125-inch T-shirt")` is `["women", "14.125", "inch", "t",
    "shirt"]`.
    """
    words: list[str] = []
    for match in _TOKEN.finditer(text):
        token = match[0].lower()
        if not _WORDY.search(token):
            continue
        for start in range(0, len(token), MAX_TOKEN_LENGTH):
            piece = token[start : start + MAX_TOKEN_LENGTH]
            words.append(piece[:-2] if piece.endswith(_POSSESSIVE) else piece)
    return words


class Analyzer:
    """Example: `Analyzer()("the technologies")` is `["technolog"]`. Needs PyStemmer."""

    def __init__(self) -> None:
        import Stemmer

        porter: Any = Stemmer.Stemmer("porter")
        # The words of a catalogue recur; those of its users need not.
        self._stem = lru_cache(maxsize=65536)(partial(_stem, porter=porter.stemWord))

    def __call__(self, text: str) -> list[str]:
        return [self._stem(word) for word in split_words(text) if word and word not in STOPWORDS]


def _stem(word: str, *, porter: Callable[[str], str]) -> str:
    if len(word) <= 2:
        return word
    stem = porter(word)
    if stem.endswith("logi") and _VOWEL_CONSONANT.search(stem[:-4]):
        return stem[:-1]
    if stem.endswith("bli") and _VOWEL_CONSONANT.search(stem[:-3]):
        return porter(stem[:-1] + "e")
    return stem


__all__ = ["MAX_TOKEN_LENGTH", "STOPWORDS", "Analyzer", "split_words"]
