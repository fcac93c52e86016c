"""Tokenizers for tiny models, trained on a world's own text.

Text worlds speak in templates ("On the shelf 1, you see a mug 2."). A tiny model learns them
fastest when an entity ("mug 2") is one token and the words between entities are few. Whatever was
not learned falls back to words, then pieces of words or bytes, so every text survives:
decode(encode(x)) == x.
"""

# transformers leaves parts of its signatures untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_PAD, _END = "<|pad|>", "<|end|>"
_ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_ENTITY = re.compile(r"\b([a-z]+) (\d+)\b")
_NUMBERED = re.compile(r"\b([a-z]{2,}) ([1-9]\d?)\b(?!\.\d)")
_WORDS = r" ?\w+|\s+|[^\w\s]"
_BARE_WORDS = r" \d{1,2}\b(?!\.\d)|\w+|\s+|[^\w\s] ?"
"""A word is the same token after a blank, a quote or a bracket, so that it can be copied; a number
that may be a name's ("mug 2") has its blank."""
_MARKUP = r" ?\[[A-Z]+\] ?"
"""Such as " [SEP] " between the fields of a page."""
_PUNCTUATION = re.compile(r"[^\w\s](?: ?[^\w\s])+ ?")
"""Two marks or more, such as '": "' in JSON."""
_MAX_MARKS = 60


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


def train_open_tokenizer(
    documents: Iterable[Sequence[str]],
    *,
    phrases: Iterable[str] = (),
    max_phrases: int = 600,
    max_words: int = 4000,
    num_merges: int = 400,
    min_count: int = 3,
) -> PreTrainedTokenizerFast:
    """Learn any world's language: phrases, words, syllables.

    A document is the messages of one episode; a phrase counts once in each, so that what only one
    episode says, however often, stays words. No phrase holds an entity ("cabinet 12"): its kind is
    one token and its number another, so that a task that asks for "some cabinet" names what a list
    of them shows. Words are kept down to a single occurrence, since a word that is one token is
    copied at once; those beyond `max_words` and those never seen fall into pieces of words learned
    as BPE (Sennrich et al. 2016), at most `num_merges` of them.
    """
    documents = [list(document) for document in documents]
    texts = [text for document in documents for text in document]
    kinds = _numbered_kinds(texts, min_count=min_count)
    fields = [
        [field for text in document for field in re.split(_MARKUP, text)] for document in documents
    ]
    marks = _in_documents(fields, split=_PUNCTUATION.findall)
    found = _frequent(marks, max_phrases=_MAX_MARKS, min_count=min_count)
    ends = re.compile(f"{_PUNCTUATION.pattern}|{_phrase_ends(kinds).pattern}")
    between = _in_documents(fields, split=ends.split)
    found += _frequent(between, max_phrases=max_phrases, min_count=min_count)
    phrases = list(dict.fromkeys([*phrases, *found]))
    counts = Counter(
        word for text in texts for word in re.findall(f"{_MARKUP}|{_BARE_WORDS}", text)
    )
    words = [word for word, _ in counts.most_common(max_words)]
    merges = _merges(counts, num=num_merges)
    return _assemble([*kinds, *phrases, *words], _open_pattern([*kinds, *phrases]), merges=merges)


def _in_documents(
    documents: Iterable[Sequence[str]], *, split: Callable[[str], Iterable[str]]
) -> Counter[str]:
    """In how many documents each piece occurs."""
    return Counter(
        piece
        for document in documents
        for piece in dict.fromkeys(piece for text in document for piece in split(text))
    )


def _numbered_kinds(texts: Sequence[str], *, min_count: int) -> list[str]:
    """Words most of whose occurrences bear a number ("cabinet 12", but not "pack of 2")."""
    seen = Counter(kind for text in texts for kind, _ in _NUMBERED.findall(text))
    words = Counter(word for text in texts for word in re.findall(r"[a-z]+", text))
    return [
        kind
        for kind, count in sorted(seen.items())
        if min_count <= count and words[kind] < 2 * count
    ]


def _merges(words: Mapping[str, int], *, num: int) -> list[tuple[str, str]]:
    """The first `num` merges of byte-level BPE on the words, each as often as it occurs."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) + num, initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(
        (word for word, count in sorted(words.items()) for _ in range(count)), trainer=trainer
    )
    found: list[list[str]] = json.loads(learner.to_str())["model"]["merges"]
    return [(first, second) for first, second in found]


def _open_pattern(pieces: Iterable[str]) -> str:
    """Alternatives in order: markup, a kind or a learned phrase (longest first), a word."""
    known = [_whole_words(piece) for piece in sorted(pieces, key=len, reverse=True)]
    return "|".join([_MARKUP, *known, _BARE_WORDS])


def _whole_words(phrase: str) -> str:
    before = r"\b" if phrase[0].isalnum() else ""
    after = r"\b" if phrase[-1].isalnum() else ""
    return before + re.escape(phrase) + after


def _phrases(texts: list[str], *, kinds: list[str], max_phrases: int, min_count: int) -> list[str]:
    cut = _phrase_ends(kinds)
    counts = Counter(piece for text in texts for piece in cut.split(text) if piece)
    return _frequent(counts, max_phrases=max_phrases, min_count=min_count)


def _phrase_ends(kinds: Sequence[str]) -> re.Pattern[str]:
    """Where phrases part: at entities, and after a sentence or a line."""
    ends = r"(?<=[.\n])(?= )|(?<=\n)(?=[^ \n])"
    if kinds:
        names = "|".join(sorted(kinds, key=len, reverse=True))
        ends = rf"\b(?:{names})(?: \d+)?\b|{ends}"
    return re.compile(ends)


def _frequent(counts: Counter[str], *, max_phrases: int, min_count: int) -> list[str]:
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


def _assemble(
    pieces: list[str], split: str, *, merges: Sequence[tuple[str, str]] = ()
) -> PreTrainedTokenizerFast:
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = [_PAD, _END, *_ROLES]
    coded = ["".join(part for part, _ in to_bytes.pre_tokenize_str(piece)) for piece in pieces]
    syllables = [first + second for first, second in merges]
    tokens = dict.fromkeys([*specials, *alphabet, *coded, *syllables])
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges), ignore_merges=True))
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
