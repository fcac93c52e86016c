"""The shop's search engine: BM25 over its products, ranked as Lucene ranks them.

`bm25s` scores eagerly: one sparse matrix holds what every word is worth in every document, and a
query adds up a few of its columns. Two things of Lucene's are put on top: it keeps the length of a
document in one byte, and equal scores are ordered by id, as Anserini asks for.
"""

# bm25s comes without types, with an extra.
# pyright: reportMissingImports=false, reportMissingTypeStubs=false
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dyna.envs.webshop.analysis import Analyzer

K1 = 0.9
B = 0.4
"""Anserini's defaults, with which WebShop searches."""

_EXACT_LENGTHS = 24


def stored_length(length: int) -> int:
    """What is left of a document's length in Lucene's one byte (`SmallFloat.intToByte4`): exact
    below 40 words, then four binary digits of what exceeds 24."""
    excess = length - _EXACT_LENGTHS
    lost = max(0, excess.bit_length() - 4) if excess > 0 else 0
    return length if not lost else _EXACT_LENGTHS + (excess >> lost << lost)


class SearchIndex:
    """Example: `SearchIndex(["red mug", "blue mug"], ids=["a", "b"]).rank("blue", num=10)` is
    `[1]`.

    Needs bm25s and PyStemmer.
    """

    def __init__(
        self, documents: Sequence[str], *, ids: Sequence[str], k1: float = K1, b: float = B
    ) -> None:
        import bm25s

        if len(documents) != len(ids):
            raise ValueError(f"{len(documents)} documents need as many ids, got {len(ids)}")
        self._analyzer = Analyzer()
        words = [self._analyzer(document) for document in documents]
        self._index: Any = None
        self._vocabulary: dict[str, int] = {}
        order = sorted(range(len(ids)), key=ids.__getitem__)
        self._tie_break = np.empty(len(ids), dtype=np.int64)  # [D]
        self._tie_break[order] = np.arange(len(ids))
        if not any(words):
            return
        self._index = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
        self._index.index(words, show_progress=False)
        self._vocabulary = self._index.vocab_dict
        self._forget_lengths(np.array([len(of_document) for of_document in words]), k1=k1, b=b)

    def rank(self, query: str, *, num: int) -> list[int]:
        """The positions of at most `num` documents that share a word with the query, best first.

        A word said twice counts twice.
        """
        vocabulary = self._vocabulary
        known = [vocabulary[word] for word in self._analyzer(query) if word in vocabulary]
        if not known or num < 1:
            return []
        # Lucene adds up in single precision; what is equal there must be equal here.
        scores = self._index.get_scores_from_ids(known).astype(np.float32)  # [D]
        found = np.flatnonzero(scores > 0)
        if len(found) > num:
            bar = np.partition(scores[found], len(found) - num)[len(found) - num]
            found = found[scores[found] >= bar]
        best = np.lexsort((self._tie_break[found], -scores[found]))[:num]
        return found[best].tolist()

    def _forget_lengths(self, lengths: npt.NDArray[np.int64], *, k1: float, b: float) -> None:
        """Rewrite the matrix as if every document had the length that Lucene remembers.

        A posting holds idf * share, with share = tf / (tf + norm); the norm alone changes.
        """
        matrix = self._index.scores
        stored = np.array([stored_length(int(length)) for length in lengths])
        mean = lengths.mean()
        norm = k1 * (1 - b + b * lengths / mean)  # [D]
        new_norm = k1 * (1 - b + b * stored / mean)  # [D]
        num_postings = np.diff(matrix["indptr"])  # [V]
        num_documents = len(lengths)
        idf = np.array(
            [math.log(1 + (num_documents - n + 0.5) / (n + 0.5)) for n in num_postings.tolist()]
        )
        share = matrix["data"] / np.repeat(idf, num_postings)  # [P]
        document = matrix["indices"]  # [P]
        frequency = share * norm[document] / (1 - share)
        matrix["data"] = np.repeat(idf, num_postings) * frequency / (frequency + new_norm[document])


__all__ = ["K1", "B", "SearchIndex", "stored_length"]
