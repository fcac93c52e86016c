import math
from dataclasses import replace

import pytest

from dyna.evaluation.consistency import (
    Divergence,
    divergence_metrics,
    faithful_by_depth,
    first_divergence,
)
from dyna.types import Action, Outcome, Source, Start, StopReason, Task, Trajectory, Turn


def episode(*outcomes: Outcome, stop: StopReason = StopReason.STEP_LIMIT) -> Trajectory:
    return Trajectory(
        id="e",
        task=Task(id="t", world="w", family="f", split="s"),
        start=Start(observation=""),
        turns=tuple(
            Turn(action=Action(command=f"step {i}"), outcome=o) for i, o in enumerate(outcomes)
        ),
        stop=stop,
    )


SAME = Outcome(observation="a")
WON = Outcome(observation="a", reward=1.0, terminated=True, success=True)


def dream(*outcomes: Outcome) -> Trajectory:
    return replace(episode(*outcomes, stop=StopReason.HORIZON), source=Source.IMAGINED)


def test_equal_episodes_never_diverge() -> None:
    padded = replace(SAME, observation=" a\n", confidence=0.3)
    found = first_divergence(imagined=dream(padded, SAME), real=episode(SAME, SAME))
    assert found == Divergence(turn=None, num_compared=2)


def test_the_first_difference_is_found_and_named() -> None:
    other = replace(SAME, observation="b")
    found = first_divergence(imagined=dream(SAME, SAME, other, WON), real=episode(*[SAME] * 4))
    assert found == Divergence(turn=2, num_compared=4, observation=True)


def test_an_imagined_win_that_the_world_denies() -> None:
    found = first_divergence(imagined=dream(SAME, WON), real=episode(SAME, SAME))
    assert found == Divergence(turn=1, num_compared=2, reward=True, termination=True)


def test_real_leading_turns_are_not_compared() -> None:
    branched = replace(dream(SAME, SAME, SAME), branch_point=2)
    found = first_divergence(imagined=branched, real=episode(WON, SAME, SAME))
    assert found == Divergence(turn=None, branch_point=2, num_compared=1)


def test_only_a_whole_replay_of_the_same_actions_counts() -> None:
    one = dream(SAME)
    other = Turn(action=Action(command="jump"), outcome=SAME)
    with pytest.raises(ValueError, match="at turn 0 it took 'jump', the dream 'step 0'"):
        first_divergence(imagined=one, real=replace(episode(SAME), turns=(other,)))
    with pytest.raises(ValueError, match="failed"):
        first_divergence(imagined=one, real=episode(SAME, stop=StopReason.ENV_ERROR))


def test_faithful_share_by_depth_is_the_product_limit_estimate() -> None:
    """Of 4 dreams one diverges at its 2nd turn, one at its 3rd; one is cut after 2 true turns."""
    curve = faithful_by_depth(
        [
            Divergence(turn=1, num_compared=5),
            Divergence(turn=5, branch_point=3, num_compared=4),
            Divergence(turn=None, num_compared=2),
            Divergence(turn=None, num_compared=4),
        ]
    )
    assert curve == pytest.approx({1: 1.0, 2: 3 / 4, 3: 3 / 8, 4: 3 / 8})
    assert faithful_by_depth([]) == {}


def test_metrics_of_divergences() -> None:
    metrics = divergence_metrics(
        [
            Divergence(turn=2, num_compared=4, observation=True),
            Divergence(turn=4, num_compared=5, reward=True, termination=True),
            Divergence(turn=None, num_compared=3),
            Divergence(turn=None, num_compared=3),
        ]
    )
    assert metrics == {
        "eval/diverged": 0.5,
        "eval/first_divergence": 3.0,
        "eval/diverged_observation": 0.25,
        "eval/diverged_reward": 0.25,
        "eval/diverged_termination": 0.25,
    }
    assert math.isnan(divergence_metrics([])["eval/diverged"])
