import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dyna.evaluation.policies import (
    consistency_ratio,
    exploitation_gap,
    paired_consistency,
    success_by_task,
    success_rate,
    summarize,
)
from dyna.types import Action, Outcome, Start, StopReason, Task, Trajectory, Turn


def episode(task: str, *, rewards: list[float], stop: StopReason | None = None) -> Trajectory:
    won = bool(rewards) and rewards[-1] == 1
    return Trajectory(
        id=f"e/{task}",
        task=Task(id=task, world="w", family="f", split="s"),
        start=Start(observation=""),
        turns=tuple(
            Turn(
                action=Action(command="wait"),
                outcome=Outcome(
                    observation="", reward=reward, success=won and i == len(rewards) - 1
                ),
            )
            for i, reward in enumerate(rewards)
        ),
        stop=stop or (StopReason.TERMINATED if won else StopReason.STEP_LIMIT),
    )


def test_summary_of_three_episodes_and_a_failure() -> None:
    summary = summarize(
        [
            episode("a", rewards=[0, 1]),
            episode("b", rewards=[0, 0, 0, 0]),
            episode("c", rewards=[0.5, 0, 0, 1]),
            episode("d", rewards=[1], stop=StopReason.ENV_ERROR),
        ]
    )
    assert (summary.num_episodes, summary.num_failures) == (3, 1)
    assert summary.success == pytest.approx(2 / 3)
    assert summary.mean_return == pytest.approx(2.5 / 3)
    assert summary.mean_turns == pytest.approx(10 / 3)
    assert summary.mean_turns_of_wins == 3


def test_nothing_played_is_not_a_success_rate_of_zero() -> None:
    assert math.isnan(success_rate([])) and math.isnan(summarize([]).success)


def test_a_failure_is_no_outcome_and_a_task_played_twice_is_refused() -> None:
    failed = episode("b", rewards=[0], stop=StopReason.LOST)
    assert success_by_task([episode("a", rewards=[1]), failed]) == {"a": True}
    with pytest.raises(ValueError, match="'a' was played more than once"):
        success_by_task([episode("a", rewards=[1]), episode("a", rewards=[0])])


def test_consistency_ratio_is_w2r_over_real() -> None:
    assert consistency_ratio(real=0.8, w2r=0.6) == pytest.approx(0.75)
    assert math.isnan(consistency_ratio(real=0.0, w2r=0.0))


def test_paired_consistency_of_eight_tasks() -> None:
    imagined = dict.fromkeys("abcd", True) | dict.fromkeys("efgh", False)
    real = dict.fromkeys("abc", True) | dict.fromkeys("defgh", False)
    paired = paired_consistency(imagined=imagined, real=real)
    assert (paired.num_tasks, paired.num_unpaired) == (8, 0)
    assert paired.agreement == 7 / 8
    assert (paired.false_positives, paired.false_negatives) == (1 / 8, 0)
    assert paired.gap == 1 / 8 == exploitation_gap(imagined=imagined, real=real)


@given(st.dictionaries(st.integers(0, 9).map(str), st.tuples(st.booleans(), st.booleans())))
def test_paired_shares_add_up(outcomes: dict[str, tuple[bool, bool]]) -> None:
    imagined = {task: pair[0] for task, pair in outcomes.items()}
    real = {task: pair[1] for task, pair in outcomes.items()}
    paired = paired_consistency(imagined=imagined, real=real)
    if outcomes:
        total = paired.agreement + paired.false_positives + paired.false_negatives
        assert total == pytest.approx(1)
        assert paired.gap == pytest.approx(paired.false_positives - paired.false_negatives)
    else:
        assert math.isnan(paired.agreement)


def test_tasks_without_a_partner_are_counted_and_left_out() -> None:
    paired = paired_consistency(imagined={"a": True, "b": True}, real={"a": True, "c": False})
    assert (paired.num_tasks, paired.num_unpaired, paired.agreement) == (1, 2, 1.0)
    with pytest.raises(ValueError, match="same tasks; 2 are in one only"):
        exploitation_gap(imagined={"a": True, "b": True}, real={"a": True, "c": False})
