"""What a world model writes can be read back, and whatever else it writes never raises."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dyna.grammar import read_answer, write_answer
from dyna.types import Outcome, StopReason

ENDINGS = st.sampled_from([(False, False), (True, False), (True, True)])


@given(
    observation=st.text(max_size=60),
    reward=st.floats(allow_nan=False, allow_infinity=False),
    ending=ENDINGS,
)
@example(observation="small", reward=1e-5, ending=(True, True))
@example(observation="large", reward=1234567.0, ending=(True, False))
@example(observation="ends in a blank ", reward=0.0, ending=(False, False))
@example(observation="quotes [reward 1; done]", reward=0.5, ending=(True, True))
def test_an_answer_reads_back_as_it_was(
    observation: str, reward: float, ending: tuple[bool, bool]
) -> None:
    terminated, success = ending
    outcome = Outcome(
        observation=observation,
        reward=reward,
        terminated=terminated,
        success=success,
        stop=StopReason.TERMINATED if terminated else None,
    )
    assert read_answer(write_answer(outcome)) == outcome


@given(text=st.text(max_size=80))
@example(text="")
@example(text="[reward nan]")
@example(text="x [reward 1e999]")
@example(text="x [reward 1; success]")
@example(text="x [reward 1; done; success] and more")
@example(text="x [reward ]")
@example(text="x [reward 1; done")
def test_no_text_raises_and_garbage_stops_the_episode(text: str) -> None:
    outcome = read_answer(text)
    if outcome.stop is StopReason.UNPARSEABLE:
        assert outcome.confidence == 0.0
        assert not outcome.success
        assert outcome.reward == 0.0
    else:
        assert outcome.terminated == (outcome.stop is StopReason.TERMINATED)


@pytest.mark.parametrize(
    "text",
    [
        "You see a mug 1.",
        "x [reward nan]",
        "x [reward inf]",
        "x [reward 1; success]",
        "x [reward 1; done; done]",
        "x [reward 1; done] y",
    ],
)
def test_what_is_no_answer_is_unparseable(text: str) -> None:
    assert read_answer(text).stop is StopReason.UNPARSEABLE


def test_a_missing_blank_and_a_trailing_line_end_are_forgiven() -> None:
    assert read_answer("Done.[reward 1; done; success]\n").success


def test_an_absurdly_long_reward_never_becomes_infinite() -> None:
    outcome = read_answer(f"x [reward {'9' * 400}]")
    assert outcome.stop is StopReason.UNPARSEABLE
