import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyna.evaluation.fidelity import (
    TurnScore,
    exact_match,
    exact_match_by,
    fidelity_metrics,
    win_precision,
    win_recall,
    word_f1,
)

RIGHT = TurnScore(
    exact=True,
    observation_exact=True,
    reward_exact=True,
    termination_exact=True,
    confidence=0.9,
    predicted_success=False,
    success=False,
    kind="go",
    valid=True,
    depth=1,
    trajectory_id="e",
)
WRONG_TEXT = replace(RIGHT, exact=False, observation_exact=False)
WON = replace(RIGHT, predicted_success=True, success=True, kind="move")
FALSE_WIN = replace(WRONG_TEXT, reward_exact=False, termination_exact=False, predicted_success=True)
MISSED_WIN = replace(RIGHT, exact=False, reward_exact=False, termination_exact=False, success=True)


def test_exact_match_is_the_share_of_exact_turns() -> None:
    assert exact_match([RIGHT, RIGHT, RIGHT, WRONG_TEXT]) == 0.75
    assert math.isnan(exact_match([]))


@given(st.lists(st.booleans(), min_size=1))
def test_exact_match_grows_with_every_turn_put_right(flags: list[bool]) -> None:
    scores = [RIGHT if flag else WRONG_TEXT for flag in flags]
    before = exact_match(scores)
    assert 0 <= before <= 1
    for index, flag in enumerate(flags):
        better = exact_match([*scores[:index], RIGHT, *scores[index + 1 :]])
        assert better == before if flag else better > before


def test_exact_match_comes_apart_by_kind() -> None:
    taken = replace(WRONG_TEXT, kind="take")
    by_kind = exact_match_by([RIGHT, taken, replace(RIGHT, kind="take")], key=lambda s: s.kind)
    assert by_kind == {"go": 1.0, "take": 0.5}


def test_wins_have_precision_and_recall() -> None:
    scores = [WON, WON, WON, FALSE_WIN, MISSED_WIN, MISSED_WIN, RIGHT]
    assert win_precision(scores) == 0.75
    assert win_recall(scores) == 0.6
    assert math.isnan(win_precision([RIGHT])) and math.isnan(win_recall([RIGHT]))


def test_metrics_keep_invalid_actions_parts_and_depths_apart() -> None:
    invalid = replace(WRONG_TEXT, valid=False, kind="take")
    deep = replace(WRONG_TEXT, depth=3)
    metrics = fidelity_metrics([RIGHT, WON, MISSED_WIN, invalid, deep])
    assert metrics["model/em"] == 0.5
    assert metrics["model/observation_em"] == 0.75
    assert metrics["model/reward_em"] == metrics["model/termination_em"] == 0.75
    assert metrics["model/em_valid"] == pytest.approx(2 / 3)
    assert metrics["model/em_invalid"] == 0.0
    assert metrics["model/em_kind/go"] == 0.5 and metrics["model/em_kind/move"] == 1.0
    assert "model/em_kind/take" not in metrics
    assert metrics["model/em_depth/1"] == 0.5 and metrics["model/em_depth/3"] == 0.0
    assert metrics["model/scored_turns"] == 4 and "model/word_f1" not in metrics
    assert fidelity_metrics([replace(RIGHT, f1=0.5)], prefix="eval")["eval/word_f1"] == 0.5
    assert math.isnan(fidelity_metrics([])["model/em"])


@pytest.mark.parametrize(
    ("predicted", "real", "expected"),
    [("a b", "b c", 0.5), ("a a b", "a", 0.5), ("", "", 1.0), ("", "a", 0.0), ("x  y", "y x", 1.0)],
)
def test_word_f1_of_small_cases(predicted: str, real: str, expected: float) -> None:
    assert word_f1(predicted, real) == expected


@given(st.text("ab ", max_size=12), st.text("ab ", max_size=12))
def test_word_f1_is_symmetric_and_one_only_for_equal_bags(left: str, right: str) -> None:
    f1 = word_f1(left, right)
    assert f1 == word_f1(right, left) and 0 <= f1 <= 1
    assert (f1 == 1) == (sorted(left.split()) == sorted(right.split()))
