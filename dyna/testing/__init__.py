"""The public contract kit: one line of a user's test checks one plug-in against its seam.

    def test_my_world():
        check_world(MyWorld())

Each `check_*` is a plain function that raises `AssertionError` with a message that says what was
seen, what the seam asks for, and why. Beside them stand the smallest real parts that tests are
made of: real episodes, a byte tokenizer and a tiny random language model (see `dyna.samples`).
"""

from __future__ import annotations

from dyna.samples import byte_tokenizer, sample_groups, sample_trajectories, tiny_model
from dyna.testing.envs import Play, check_env
from dyna.testing.outcomes import GARBAGE, check_outcome
from dyna.testing.parts import (
    check_algorithm,
    check_engine,
    check_policy,
    check_stateful,
    check_world_model,
    check_world_model_learner,
)
from dyna.testing.regularizers import check_regularizer
from dyna.testing.replay import check_replay_buffer
from dyna.testing.worlds import (
    WORLD_CHECKS,
    check_step_limit,
    check_world,
    check_world_ends,
)

__all__ = [
    "GARBAGE",
    "WORLD_CHECKS",
    "Play",
    "byte_tokenizer",
    "check_algorithm",
    "check_engine",
    "check_env",
    "check_outcome",
    "check_policy",
    "check_regularizer",
    "check_replay_buffer",
    "check_stateful",
    "check_step_limit",
    "check_world",
    "check_world_ends",
    "check_world_model",
    "check_world_model_learner",
    "sample_groups",
    "sample_trajectories",
    "tiny_model",
]
