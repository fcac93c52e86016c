"""Measures of a stream, against matrices worked out by hand and against what must always hold."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dyna.evaluation.continual import (
    MEASURES,
    ResultMatrix,
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    learning_accuracy,
    over_seeds,
    shortfalls,
)

THREE = ResultMatrix(
    tasks=("heat", "cool", "clean"),
    scores=((0.8, 0.2, 0.1), (0.9, 0.7, 0.3), (0.5, 0.6, 1.0)),
    before=(0.1, 0.1, 0.2),
)


def test_the_measures_of_a_matrix_worked_out_by_hand() -> None:
    assert average_accuracy(THREE) == pytest.approx((0.5 + 0.6 + 1.0) / 3)
    assert learning_accuracy(THREE) == pytest.approx((0.8 + 0.7 + 1.0) / 3)
    assert backward_transfer(THREE) == pytest.approx(((0.5 - 0.8) + (0.6 - 0.7)) / 2)
    assert forward_transfer(THREE) == pytest.approx(((0.2 - 0.1) + (0.3 - 0.2)) / 2)
    # The best that `heat` ever was is 0.9, after the second experience, not its own.
    assert forgetting(THREE) == pytest.approx(((0.9 - 0.5) + (0.7 - 0.6)) / 2)


def test_shortfalls_are_by_task() -> None:
    found = shortfalls(THREE, reference=(0.9, 0.6, 0.9))
    assert found == pytest.approx({"heat": 0.4, "cool": 0.0, "clean": -0.1})
    with pytest.raises(ValueError, match="one for each task"):
        shortfalls(THREE, reference=(0.9,))


def test_a_stream_of_one_task_has_no_transfer() -> None:
    single = ResultMatrix(tasks=("heat",), scores=((0.7,),), before=(0.1,))
    assert average_accuracy(single) == learning_accuracy(single) == 0.7
    for measure in (backward_transfer, forward_transfer, forgetting):
        assert math.isnan(measure(single))


def test_what_was_not_measured_makes_only_the_measures_that_need_it_unknown() -> None:
    hole = ResultMatrix(tasks=("a", "b"), scores=((0.8, math.nan), (0.6, 0.9)))
    assert math.isnan(forward_transfer(hole))
    assert backward_transfer(hole) == pytest.approx(-0.2)
    lost = ResultMatrix(
        tasks=("a", "b", "c"),
        scores=((math.nan, 0.0, 0.0), (0.5, 0.5, 0.0), (0.4, 0.5, 0.5)),
    )
    assert math.isnan(forgetting(lost)) and math.isnan(backward_transfer(lost))
    assert average_accuracy(lost) == pytest.approx(1.4 / 3)


def test_a_matrix_survives_json_holes_and_all() -> None:
    hole = ResultMatrix(tasks=("a", "b"), scores=((0.8, math.nan), (0.6, 0.9)), before=(0.0, 0.1))
    again = ResultMatrix.from_json(json.loads(json.dumps(hole.to_json(), allow_nan=False)))
    assert again.tasks == hole.tasks and again.before == hole.before
    assert math.isnan(again.scores[0][1]) and again.scores[1] == hole.scores[1]
    with pytest.raises(ValueError, match="no result matrix"):
        ResultMatrix.from_json({"tasks": ["a"]})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": ((0.1, 0.2),)}, "2 rows of 2"),
        ({"tasks": ("a", "a")}, "without repeats"),
        ({"before": (0.1,)}, "2 scores or none"),
    ],
)
def test_what_is_no_matrix_is_refused(change: dict[str, tuple[object, ...]], words: str) -> None:
    whole = {"tasks": ("a", "b"), "scores": ((0.1, 0.2), (0.3, 0.4)), "before": ()}
    with pytest.raises(ValueError, match=words):
        ResultMatrix(**(whole | change))  # pyright: ignore[reportArgumentType]


def test_intervals_are_over_seeds_and_refuse_other_tasks_and_holes() -> None:
    runs = [
        ResultMatrix(tasks=("a", "b"), scores=((0.8, 0.0), (0.8 - drop, 0.9)))
        for drop in (0.1, 0.2, 0.3)
    ]
    found = over_seeds(runs, measure=backward_transfer)
    # Mean -0.2, standard deviation 0.1, three runs: t(0.975, 2) = 4.3027.
    assert found.estimate == pytest.approx(-0.2)
    assert found.high - found.estimate == pytest.approx(4.3027 * 0.1 / math.sqrt(3), abs=1e-4)
    with pytest.raises(ValueError, match="same tasks"):
        over_seeds([*runs, THREE], measure=backward_transfer)
    with pytest.raises(ValueError, match="not measured"):
        over_seeds(runs, measure=forward_transfer)


def matrices() -> st.SearchStrategy[ResultMatrix]:
    score = st.floats(0.0, 1.0)

    def of(num: int) -> st.SearchStrategy[ResultMatrix]:
        row = st.tuples(*[score] * num)
        return st.builds(
            ResultMatrix,
            tasks=st.just(tuple(f"task{index}" for index in range(num))),
            scores=st.tuples(*[row] * num),
            before=row,
        )

    return st.integers(2, 5).flatmap(of)


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_forgetting_is_at_least_what_backward_transfer_lost(matrix: ResultMatrix) -> None:
    assert forgetting(matrix) >= -backward_transfer(matrix) - 1e-12


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_every_measure_of_scores_between_0_and_1_is_between_minus_1_and_1(
    matrix: ResultMatrix,
) -> None:
    for measure in MEASURES.values():
        assert -1.0 <= measure(matrix) <= 1.0


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_a_model_that_never_falls_forgets_nothing(matrix: ResultMatrix) -> None:
    rows = [matrix.scores[0]]
    for row in matrix.scores[1:]:
        rows.append(tuple(map(max, rows[-1], row)))
    rising = ResultMatrix(tasks=matrix.tasks, scores=tuple(rows))
    assert forgetting(rising) <= 0.0 <= backward_transfer(rising)
