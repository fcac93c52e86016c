"""Settings of learners that do not go together are refused by name, before anything starts."""

from __future__ import annotations

import pytest

from dyna.config import Backend, RunConfig, RuntimeConfig, Sharding
from dyna.validation import problems

RLLIB = Backend.RLLIB


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        (
            RuntimeConfig(backend=RLLIB, num_learners=1, sharding=Sharding.FSDP),
            "set runtime.num_learners to 2 or more, got 1",
        ),
        (RuntimeConfig(backend=RLLIB, gpus_per_learner=1), "set runtime.num_learners; without"),
        (
            RuntimeConfig(backend=RLLIB, num_learners=1, gpus_per_learner=2),
            "a learner uses one GPU",
        ),
    ],
)
def test_a_mismatch_is_named(runtime: RuntimeConfig, expected: str) -> None:
    (found,) = problems(RunConfig(runtime=runtime))
    assert expected in found


def test_what_goes_together_is_let_through() -> None:
    runtime = RuntimeConfig(
        backend=RLLIB, num_learners=4, gpus_per_learner=1, sharding=Sharding.FSDP
    )
    assert problems(RunConfig(runtime=runtime)) == []
