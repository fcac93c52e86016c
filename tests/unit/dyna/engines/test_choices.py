"""The trie of constrained decoding."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.engines.choices import TrieNode, build_trie


def _leaves(node: TrieNode, *, path: tuple[int, ...] = ()) -> set[tuple[int, ...]]:
    if not node:
        return {path}
    return set().union(*(_leaves(child, path=(*path, token)) for token, child in node.items()))


@settings(max_examples=60, deadline=None)
@given(st.sets(st.lists(st.integers(0, 4), max_size=5).map(tuple), min_size=1, max_size=12))
def test_the_paths_of_the_trie_are_the_choices(bodies: set[tuple[int, ...]]) -> None:
    choices = [(*body, 9) for body in bodies]
    assert _leaves(build_trie(choices)) == set(choices)


def test_equal_choices_count_once() -> None:
    assert build_trie([(1, 2), (1, 2)]) == {1: {2: {}}}


@pytest.mark.parametrize("choices", [[(1,), (1, 2)], [(1, 2), (1,)], [(1, 2, 3), (1, 2)]])
def test_a_choice_that_starts_another_is_refused(choices: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="stop token"):
        build_trie(choices)


@pytest.mark.parametrize("choices", [[], [()], [(1,), ()]])
def test_nothing_to_choose_from_is_refused(choices: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="choices"):
        build_trie(choices)
