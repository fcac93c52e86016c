"""Rollout: what is loud. Bugs in dreams, policies that never act, limits out of range."""

from __future__ import annotations

import asyncio
import math

import pytest

from dyna.rollout import (
    BrokenDreamError,
    BrokenPolicyError,
    Limits,
    check_policies,
    rollout,
)
from dyna.types import (
    Action,
    Context,
    Source,
    StopReason,
)
from tests.unit.dyna.rollout_parts import (
    LIMITS,
    CallingPolicy,
    CountingEnv,
    SeededPolicy,
    break_down,
    play,
    spec,
)


def test_limits_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="max_turns must be >= 1, got 0"):
        Limits(max_turns=0)
    with pytest.raises(ValueError, match="step_timeout_s must be > 0"):
        Limits(max_turns=1, step_timeout_s=math.nan)


def test_a_dream_that_breaks_is_a_bug_and_isbreak_downd() -> None:
    with pytest.raises(BrokenDreamError, match=r"dream e0: step raised RuntimeError: the kettle"):
        play(CountingEnv(before_step=break_down), source=Source.IMAGINED)


def test_a_bug_in_one_of_many_dreams_ends_them_all_with_its_cause() -> None:
    with pytest.raises(BrokenDreamError) as stopped:
        asyncio.run(
            rollout(
                [spec(index) for index in range(8)],
                policy=SeededPolicy(),
                make_env=lambda _: CountingEnv(before_step=break_down),
                limits=LIMITS,
                source=Source.IMAGINED,
            )
        )
    assert str(stopped.value.__cause__) == "the kettle broke"


def test_a_failure_of_hundreds_of_episodes_is_said_in_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    played = asyncio.run(
        rollout(
            [spec(index) for index in range(200)],
            policy=SeededPolicy(),
            make_env=lambda _: CountingEnv(before_step=break_down),
            limits=LIMITS,
            source=Source.REAL,
        )
    )
    assert all(t.stop is StopReason.ENV_ERROR for t in played)
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [
        "200 of 200 episodes ended env_error: step raised RuntimeError: the kettle broke"
    ]


def test_one_broken_episode_is_data_but_a_policy_that_never_acts_is_a_fault() -> None:
    def fail(_: Context) -> Action:
        raise KeyError("no such tool")

    broken, sound = play(CountingEnv(), policy=CallingPolicy(fail)), play(CountingEnv())
    check_policies([])
    check_policies([broken, sound])
    with pytest.raises(BrokenPolicyError, match=r"all 2 episodes of 'policy' failed; .*e0.*tool"):
        check_policies([broken, broken])
