"""Bundles: an engine actor has its GPUs on one node, and a colocated learner beside it."""

from __future__ import annotations

from dyna.cluster.placement import Bundle, engine_bundles, is_colocated, trial_bundles
from dyna.config import EngineConfig, RunConfig, RuntimeConfig


def run(*, engine: EngineConfig, runtime: RuntimeConfig | None = None) -> RunConfig:
    return RunConfig(engine=engine, runtime=runtime or RuntimeConfig())


def test_each_engine_actor_has_a_bundle_with_all_its_gpus() -> None:
    config = run(engine=EngineConfig(num_actors=2, num_gpus=4, tensor_parallel=4, num_cpus=8))
    assert engine_bundles(config, num_roles=2) == [{"CPU": 8, "GPU": 4}] * 4


def test_a_shared_engine_is_one_actor_for_both_roles() -> None:
    config = run(engine=EngineConfig(num_actors=2, num_gpus=1, shared=True))
    assert engine_bundles(config, num_roles=2) == [{"CPU": 1, "GPU": 1}] * 2


def test_an_actor_that_asks_for_nothing_still_has_a_bundle() -> None:
    config = run(engine=EngineConfig(num_actors=1, num_cpus=0))
    assert engine_bundles(config, num_roles=1) == [{"CPU": 0.001}]


def test_split_engines_leave_the_learners_to_rllib() -> None:
    config = run(
        engine=EngineConfig(num_actors=1, num_gpus=1),
        runtime=RuntimeConfig(num_learners=2, gpus_per_learner=1),
    )
    assert not is_colocated(config)
    assert engine_bundles(config, num_roles=2) == [{"CPU": 1, "GPU": 1}] * 2


def test_a_colocated_learner_shares_the_bundle_of_an_engine() -> None:
    engine = EngineConfig(num_actors=1, num_gpus=0.5, sleeps=True)
    for num_learners, expected in (
        (2, [{"CPU": 1, "GPU": 1.0}] * 2),
        (1, [{"CPU": 1, "GPU": 1.0}, {"CPU": 1, "GPU": 0.5}]),
        (3, [*[{"CPU": 1, "GPU": 1.0}] * 2, {"GPU": 0.5}]),
    ):
        runtime = RuntimeConfig(num_learners=num_learners, gpus_per_learner=0.5)
        config = run(engine=engine, runtime=runtime)
        assert is_colocated(config)
        assert engine_bundles(config, num_roles=2) == expected


def test_the_bundles_of_a_trial_end_with_those_of_the_engines() -> None:
    main: Bundle = {"CPU": 1}
    runner: Bundle = {"CPU": 2}
    learner: Bundle = {"GPU": 0.5}
    engine = EngineConfig(num_actors=1, num_gpus=0.5)
    split = run(engine=engine, runtime=RuntimeConfig(num_learners=1, gpus_per_learner=1))
    assert trial_bundles(split, others=[main, runner, {"GPU": 1}], num_roles=1) == [
        *(main, runner, {"GPU": 1}),
        {"CPU": 1, "GPU": 0.5},
    ]
    shared = run(engine=engine, runtime=RuntimeConfig(num_learners=1, gpus_per_learner=0.5))
    assert trial_bundles(shared, others=[main, runner, learner], num_roles=1) == [
        *(main, runner),
        {"CPU": 1, "GPU": 1.0},
    ]
