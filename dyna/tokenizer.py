"""A tokenizer for tiny models, trained on a world's own text.

Text worlds speak in templates ("On the shelf 1, you see a mug 2."). A tiny model learns them
fastest when an entity ("mug 2") is one token and the words between entities are few. Whatever was
not learned falls back to words, then bytes, so every text survives: decode(encode(x)) == x.
"""

# transformers leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

_PAD, _END = "<|pad|>", "<|end|>"
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_ENTITY = re.compile(r"\b([a-z]+) (\d+)\b")
_WORDS = r" ?\w+|\s+|[^\w\s]"


def train_tokenizer(
    texts: Iterable[str],
    *,
    kinds: Iterable[str] = (),
    phrases: Iterable[str] = (),
    max_number: int = 3,
    max_phrases: int = 400,
    min_count: int = 3,
) -> PreTrainedTokenizerFast:
    """Learn entities, the phrases between them, and words.

    A kind is a word seen before a number, or named in `kinds`; its entities numbered 1 to
    `max_number` are tokens. A phrase is a piece of text between entities and sentence ends seen at
    least `min_count` times; the `max_phrases` most frequent are kept, and those in `phrases`.
    """
    texts = list(texts)
    kinds = sorted({*kinds, *(kind for text in texts for kind, _ in _ENTITY.findall(text))})
    entities = [f"{kind} {number}" for kind in kinds for number in range(1, max_number + 1)]
    found = _phrases(texts, kinds=kinds, max_phrases=max_phrases, min_count=min_count)
    phrases = list(dict.fromkeys([*phrases, *found]))
    words = Counter(word for text in texts for word in re.findall(_WORDS, text))
    pieces = [*kinds, *entities, *phrases, *(w for w, n in words.items() if n >= min_count)]
    split = _split_pattern(kinds, entities, phrases)
    return _assemble(pieces, split)


def _phrases(texts: list[str], *, kinds: list[str], max_phrases: int, min_count: int) -> list[str]:
    ends = r"(?<=[.\n])(?= )|(?<=\n)(?=[^ \n])"
    if kinds:
        names = "|".join(sorted(kinds, key=len, reverse=True))
        ends = rf"\b(?:{names})(?: \d+)?\b|{ends}"
    cut = re.compile(ends)
    counts = Counter(piece for text in texts for piece in cut.split(text) if piece)
    frequent = [piece for piece, count in counts.most_common(max_phrases) if count >= min_count]
    return [piece for piece in frequent if len(piece) > 1]


def _split_pattern(kinds: list[str], entities: list[str], phrases: list[str]) -> str:
    """Alternatives in order: an entity, a kind, a learned phrase (longest first), a word."""
    numbers = sorted({entity.rsplit(" ", 1)[1] for entity in entities}, key=int, reverse=True)
    alternatives: list[str] = []
    if kinds:
        names = "|".join(sorted(kinds, key=len, reverse=True))
        alternatives += [rf"\b(?:{names}) (?:{'|'.join(numbers)})\b", rf"\b(?:{names})\b"]
    alternatives += [re.escape(p) for p in sorted(phrases, key=len, reverse=True)]
    return "|".join([*alternatives, _WORDS])


def _assemble(pieces: list[str], split: str) -> PreTrainedTokenizerFast:
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = [_PAD, _END, *_ROLES]
    coded = ["".join(part for part, _ in to_bytes.pre_tokenize_str(piece)) for piece in pieces]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys([*specials, *alphabet, *coded]))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), behavior="isolated"), to_bytes]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in specials])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_PAD,
        eos_token=_END,
        chat_template=_CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
