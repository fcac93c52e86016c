"""Engine actors on several nodes: placed, moved when their node dies, and never waited for in vain.

The nodes are processes on this machine; their GPUs are numbers that Ray counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import RayActorError

from dyna.cluster.connection import MIN_OBJECT_STORE_BYTES
from dyna.cluster.engine_pool import EnginePool, EngineStartError
from dyna.cluster.placement import PlacementError
from dyna.config import RunConfig, RuntimeConfig
from dyna.engines.making import language_models
from tests.cluster.test_engine_actors import engine_actors, remote_engine, with_engines
from tests.cluster.test_engine_faults import answers, said, wait_until
from tests.cluster.tiny_build import tiny_config

pytestmark = [pytest.mark.ray, pytest.mark.cluster]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without room for engines."""
    if ray.is_initialized():
        ray.shutdown()
    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "object_store_memory": MIN_OBJECT_STORE_BYTES},
    )
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def add_node(cluster: Cluster, **resources: Any) -> Any:
    return cluster.add_node(object_store_memory=MIN_OBJECT_STORE_BYTES, **resources)


def config_of(model_folder: str, **engine: Any) -> RunConfig:
    config = with_engines(tiny_config(model_folder))
    return replace(
        config,
        engine=replace(config.engine, **engine),
        runtime=replace(config.runtime, address="auto", placement_timeout_s=60.0),
    )


def start(config: RunConfig) -> EnginePool:
    return EnginePool(config, models={"policy": language_models(config)["policy"]})


def node_of(handle: Any) -> str:
    """Empty while the actor is dead."""
    node: Any = handle.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
    try:
        return ray.get(node)
    except RayActorError:
        return ""


def test_room_that_the_cluster_lacks_is_refused_soon_and_said(
    cluster: Cluster, model_folder: str
) -> None:
    config = config_of(model_folder, num_gpus=1, num_actors=3)
    config = replace(config, runtime=replace(config.runtime, placement_timeout_s=2.0))
    began = time.monotonic()
    with pytest.raises(
        PlacementError, match=r"3 engine actors, each with .* 1 GPU.*within"
    ) as told:
        start(config)
    assert time.monotonic() - began < 20.0
    assert "lower engine.num_actors" in str(told.value)
    on_this_machine = replace(config, runtime=RuntimeConfig(placement_timeout_s=600.0))
    with pytest.raises(PlacementError, match="the cluster has 1 nodes"):
        start(on_this_machine)
    assert engine_actors() == []


def test_an_actor_has_all_its_gpus_on_one_node(cluster: Cluster, model_folder: str) -> None:
    """Three nodes with two GPUs: two engines of two GPUs fit, on a node each."""
    nodes = [add_node(cluster, num_cpus=1, num_gpus=gpus) for gpus in (2, 1, 2)]
    try:
        pool = start(config_of(model_folder, num_gpus=2, tensor_parallel=2))
        try:
            placed = [node_of(actor.handle) for actor in pool._actors]  # pyright: ignore
            assert sorted(placed) == sorted([nodes[0].node_id, nodes[2].node_id])
        finally:
            pool.close()
    finally:
        for node in nodes:
            cluster.remove_node(node)


def test_engines_of_a_dead_node_come_back_on_one_that_joins_late(
    cluster: Cluster, model_folder: str
) -> None:
    first = add_node(cluster, num_cpus=1)
    config = config_of(model_folder, request_timeout_s=8.0, num_actors=1)
    pool = start(config)
    try:
        engine = remote_engine(pool, model_folder, num_actors=1, request_timeout_s=8.0)
        before = said(answers(engine))
        late: list[Any] = []

        def lose_the_node() -> None:
            cluster.remove_node(first, allow_graceful=False)
            late.append(add_node(cluster, num_cpus=1))

        assert said(answers(engine, meanwhile=lose_the_node)) == before
        # Its requests may all have been answered before the node died.
        wait_until(lambda: node_of(pool._actors[0].handle) == late[0].node_id)  # pyright: ignore
        wait_until(lambda: pool.metrics()["engine/ready_actors"] == 1)
        assert said(answers(engine)) == before
        cluster.remove_node(late[0])
    finally:
        pool.close()


def test_an_engine_that_dies_at_start_is_told_and_leaves_nothing(
    cluster: Cluster, model_folder: str
) -> None:
    node = add_node(cluster, num_cpus=2)
    try:
        began = time.monotonic()
        with pytest.raises(EngineStartError, match=r"policy/\d died while it started"):
            start(config_of(model_folder, name="tests.cluster.slow_engine:DyingEngine"))
        with pytest.raises(EngineStartError, match=r"(?s)policy/\d cannot start: .*no_such_folder"):
            start(config_of(model_folder + "/no_such_folder"))
        assert time.monotonic() - began < 120.0
        assert engine_actors() == []
    finally:
        cluster.remove_node(node)
