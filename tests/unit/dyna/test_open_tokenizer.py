"""The tokenizer for any world: what becomes one token, and that no text is ever lost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.tokenizer import train_open_tokenizer

PAGES = [
    [
        f"Back to Search [SEP] Blue Kettle [SEP] ${price}.50 [SEP] Buy Now",
        f"On the shelf {price % 3 + 1}, you see a mug 2. A pack of 2.",
        f'{{"error": "", "response": "price {price}"}}',
        f"Only the page of {price} speaks thus of it.",
    ]
    for price in range(10, 22)
]
TOKENIZER = train_open_tokenizer(PAGES, min_count=3)


def pieces(text: str) -> list[str]:
    ids = TOKENIZER.encode(text, add_special_tokens=False)
    return [str(TOKENIZER.decode([i])) for i in ids]


def test_fields_and_titles_are_one_token_each() -> None:
    assert pieces("Blue Kettle [SEP] Buy Now") == ["Blue Kettle", " [SEP] ", "Buy Now"]
    assert '": "' in pieces('{"error": "", "response": "x"}')


def test_a_kind_is_the_same_token_with_and_without_a_number() -> None:
    assert pieces("On the shelf 1, you see")[:3] == ["On the ", "shelf", " 1"]
    assert "shelf" in pieces("put it on some shelf.")


def test_a_word_is_the_same_token_wherever_it_stands() -> None:
    for text in ('"Kettle"', "a Kettle.", "(Kettle)"):
        assert "Kettle" in pieces(text)


def test_a_phrase_of_one_episode_alone_stays_words() -> None:
    often = [["The fountain of the north is dry."] * 9, *[["The well is dry."]] * 3]
    tokenizer = train_open_tokenizer(often)
    vocabulary = {str(tokenizer.decode([i])) for i in range(len(tokenizer))}
    assert "The well is dry." in vocabulary
    assert "The fountain of the north is dry." not in vocabulary


def test_words_never_seen_fall_into_syllables_and_bytes() -> None:
    assert "".join(pieces("kettledrum")) == "kettledrum"
    assert 1 < len(pieces("kettledrum")) < len("kettledrum")


def test_the_same_texts_give_the_same_tokenizer() -> None:
    again = train_open_tokenizer(PAGES, min_count=3)
    assert again.get_vocab() == TOKENIZER.get_vocab()
    text = "On the shelf 1, you see a kettledrum [SEP] 19.5"
    assert again.encode(text) == TOKENIZER.encode(text)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=80))
def test_every_text_survives(text: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text
