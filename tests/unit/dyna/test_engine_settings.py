"""Settings of engines that do not go together are refused by name, before anything starts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dyna.config import Backend, EngineConfig, RunConfig, RuntimeConfig
from dyna.validation import problems

CLUSTER = RuntimeConfig(backend=Backend.RLLIB)


@pytest.mark.parametrize(
    ("engine", "runtime", "expected"),
    [
        (EngineConfig(num_actors=2), RuntimeConfig(), "needs runtime.backend=rllib, got local"),
        (EngineConfig(num_gpus=1), CLUSTER, "set engine.num_actors"),
        (EngineConfig(sleeps=True), CLUSTER, "set engine.num_actors"),
        (EngineConfig(shared=True), CLUSTER, "such as `vllm`; got `transformers`"),
        (
            EngineConfig(num_actors=1, num_gpus=1, tensor_parallel=2),
            CLUSTER,
            r"engine.num_gpus must be engine.tensor_parallel (2)",
        ),
        (EngineConfig(num_actors=1, num_gpus=1.5), CLUSTER, "or a fraction where that is 1"),
    ],
)
def test_a_mismatch_is_named(engine: EngineConfig, runtime: RuntimeConfig, expected: str) -> None:
    found = problems(RunConfig(engine=engine, runtime=runtime))
    assert len(found) == 1
    assert expected in found[0]


def test_sleeping_engines_cannot_imagine_meanwhile() -> None:
    imagination = replace(RunConfig().imagination, max_staleness=1)
    engine = EngineConfig(num_actors=1, sleeps=True)
    found = problems(RunConfig(engine=engine, runtime=CLUSTER, imagination=imagination))
    assert found == [
        "engine.sleeps and imagination.max_staleness exclude each other: engines that sleep while"
        " the learner steps cannot imagine meanwhile"
    ]


@pytest.mark.parametrize(
    "engine",
    [
        EngineConfig(num_actors=2),
        EngineConfig(num_actors=1, num_gpus=0.5, sleeps=True),
        EngineConfig(num_actors=1, num_gpus=4, tensor_parallel=4, name="vllm", shared=True),
    ],
)
def test_what_goes_together_is_let_through(engine: EngineConfig) -> None:
    assert problems(RunConfig(engine=engine, runtime=CLUSTER)) == []
