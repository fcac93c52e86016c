"""Tokenizers of our own: whatever text goes in comes out again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from dyna.testing import byte_tokenizer
from dyna.tokenizer import train_tokenizer

ROOM = "You arrive at shelf 1. On the shelf 1, you see a mug 2, and a pen 1.\n"
MOVE = "You move the mug 2 to the shelf 1."
WORDS = (
    "mug 1",
    "mug 11",
    "mug 2",
    "mugs",
    "shelf",
    "shelf 2",
    "You ",
    "you see",
    ".",
    "\n",
    " ",
    "0",
)

Maker = Callable[[], PreTrainedTokenizerFast]


@cache
def trained() -> PreTrainedTokenizerFast:
    return train_tokenizer([ROOM, MOVE] * 3, kinds=("drawer",), phrases=(" [reward 0]",))


def pieces(text: str, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return [str(tokenizer.decode([i])) for i in tokenizer.encode(text, add_special_tokens=False)]


@pytest.mark.parametrize("make", [trained, byte_tokenizer])
@settings(max_examples=60, deadline=None)
@given(text=st.text() | st.lists(st.sampled_from(WORDS)).map("".join))
def test_no_text_is_changed_by_a_round_trip(make: Maker, text: str) -> None:
    tokenizer = make()
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("make", [trained, byte_tokenizer])
@settings(max_examples=30, deadline=None)
@given(text=st.text(min_size=1) | st.lists(st.sampled_from(WORDS), min_size=1).map("".join))
def test_every_token_is_known(make: Maker, text: str) -> None:
    tokenizer = make()
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids and tokenizer.unk_token_id not in ids
    assert max(ids) < len(tokenizer)


def test_an_entity_is_one_token_and_what_is_said_around_it_few() -> None:
    assert pieces(MOVE, trained()) == ["You move the ", "mug 2", " to the ", "shelf 1", "."]
    assert pieces("drawer 3", trained()) == ["drawer 3"]  # named, though never seen
    assert pieces("drawer", trained()) == ["drawer"]
    assert pieces("mug 4", trained())[0] == "mug"  # beyond max_number


def test_an_entity_inside_a_word_is_none() -> None:
    assert "mug 1" not in pieces("smug 1", trained())
    assert "mug 1" not in pieces("mug 11", trained())


def test_phrases_that_are_asked_for_are_tokens() -> None:
    assert pieces(f"{MOVE} [reward 0]", trained())[-1] == " [reward 0]"


def test_rare_phrases_and_words_are_spelled() -> None:
    tokenizer = train_tokenizer(["zebra quagga"] * 2 + ["mug 1 mug 1"] * 3, min_count=3)
    assert "zebra" not in tokenizer.get_vocab()
    assert len(pieces("zebra", tokenizer)) == 5


def test_special_tokens_are_words_of_the_template_alone() -> None:
    tokenizer = trained()
    (end,) = tokenizer.encode("<|end|>", add_special_tokens=False)
    assert end == tokenizer.eos_token_id
    assert tokenizer.pad_token_id not in tokenizer.encode(ROOM, add_special_tokens=False)
    chat = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|user|>a<|end|><|assistant|>b<|end|><|assistant|>"


def test_the_same_text_makes_the_same_tokenizer() -> None:
    again = train_tokenizer([ROOM, MOVE] * 3, kinds=("drawer",), phrases=(" [reward 0]",))
    assert again.get_vocab() == trained().get_vocab()


def test_a_saved_tokenizer_is_the_same_one(tmp_path: Path) -> None:
    trained().save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for text in (ROOM, MOVE, "\u00e9\u4e2d  smug 1\n\n"):
        ids = trained().encode(text, add_special_tokens=False)
        assert loaded.encode(text, add_special_tokens=False) == ids
        assert loaded.decode(ids) == text
    assert loaded.chat_template == trained().chat_template
