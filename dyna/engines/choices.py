"""Constrained decoding: a trie over the token strings a continuation may be.

A step of decoding may only take an edge of the trie, so what comes out is one of the choices,
whole, whatever the model would rather have said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

TrieNode: TypeAlias = "dict[int, TrieNode]"
"""Edges by token id; a node without edges ends a choice."""


def build_trie(choices: Sequence[Sequence[int]]) -> TrieNode:
    """The trie of `choices`; equal choices count once.

    Example: `build_trie([(1, 2), (1, 3)])` is `{1: {2: {}, 3: {}}}`.

    Raises:
        ValueError: for no choices, an empty one, or one that is a proper prefix of another,
            for then decoding could not know whether to stop or to go on.
    """
    if not choices:
        raise ValueError("choices must hold at least one token string, got none")
    root: TrieNode = {}
    for choice in choices:
        if not choice:
            raise ValueError("choices must not hold an empty token string")
        node = root
        is_new = False
        for token in choice:
            if not is_new and not node and node is not root:
                raise ValueError(_prefix_error(choice))
            child = node.get(token)
            if child is None:
                child = node[token] = {}
                is_new = True
            node = child
        if node:
            raise ValueError(_prefix_error(choice))
    return root


def _prefix_error(choice: Sequence[int]) -> str:
    return (
        f"choice {tuple(choice)} is a prefix of another choice or has one as its prefix; "
        "end every choice with a stop token"
    )
