"""The nouns of a product's title, without a tagger: its content words.

WebShop asks a statistical tagger of spaCy for nouns and proper nouns. Titles of goods are little
else, so here a word counts unless it is a function word, a number or a measure. A tagger of one's
own is a callable from a title to its nouns, named as `module:attribute`.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any, cast

from dyna.envs.webshop.analysis import STOPWORDS, split_words
from dyna.envs.webshop.reward import Tagger

_FUNCTION_TEXT = (
    "about above after all also am among any anyone because been before being below between both "
    "can could did do does down during each either else ever every few from further had has have "
    "he her here hers him his how i its itself just like made make may me more most much my myself "
    "neither nor off once one only other our ours out over own per perfect same she should so some "
    "than them through too two under until up upon us use used very we were what when where which "
    "while who whom why without would x you your yours"
)
_MEASURE_TEXT = "cm count ct feet fl ft g gr inch inches kg l lb lbs m mg ml mm oz pc pcs w yd"
_PASSED_OVER = STOPWORDS | frozenset(_FUNCTION_TEXT.split()) | frozenset(_MEASURE_TEXT.split())
_HAS_LETTER = re.compile(r"[^\W\d_]")


def content_words(title: str) -> list[str]:
    """Example: `content_words("Oak Shelf for the Wall, 2 pcs")` is `["oak", "shelf", "wall"]`."""
    return [
        word
        for word in split_words(title)
        if len(word) > 1 and word not in _PASSED_OVER and _HAS_LETTER.search(word)
    ]


def find_tagger(name: str) -> Tagger:
    """The callable behind `module:attribute`; the content words for an empty name.

    Raises `ValueError` for a name that leads to nothing, `TypeError` for what cannot be called.
    """
    if not name:
        return content_words
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ValueError(f"tagger must read 'module:attribute' or be empty, got {name!r}")
    try:
        tagger: Any = getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"tagger={name!r}: no module {error.name!r}; install it or correct the name"
        ) from error
    except AttributeError as error:
        raise ValueError(f"tagger={name!r}: {module_name} has no {attribute!r}") from error
    if not callable(tagger):
        raise TypeError(
            f"tagger={name!r} must be callable on a title and return its nouns, "
            f"got {type(tagger).__name__}"
        )
    return cast("Tagger", tagger)


__all__ = ["content_words", "find_tagger"]
