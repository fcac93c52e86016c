"""vLLM in an engine actor: the contract, pushes of weights, and no orphans when it is killed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
from transformers import PreTrainedModel

from dyna.cluster.connection import connect, disconnect
from dyna.cluster.engine_pool import EnginePool
from dyna.cluster.remote_engine import RemoteEngine, find_engines
from dyna.config import Backend, EngineConfig, ModelConfig, RunConfig, RuntimeConfig
from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Completion, Engine, GenerationRequest
from dyna.testing import byte_tokenizer, check_engine, tiny_model
from tests.vllm.conftest import MAX_CONTEXT, RANGE, random_like, save

pytestmark = [pytest.mark.vllm, pytest.mark.ray]


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return tiny_model(len(byte_tokenizer()), initializer_range=RANGE)


@pytest.fixture(scope="module")
def config(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    saved: ModelConfig = save(model, tmp_path_factory.mktemp("actor"))
    settings = RunConfig(
        name="vllm-actor",
        engine=EngineConfig(
            name="vllm",
            params={"kv_cache_memory_bytes": 64 << 20},
            max_batch=8,
            num_actors=1,
            start_timeout_s=900.0,
            request_timeout_s=60.0,
        ),
        runtime=RuntimeConfig(backend=Backend.RLLIB),
    )
    return replace(settings, policy=replace(settings.policy, model=saved))


@pytest.fixture(scope="module")
def pool(config: RunConfig) -> Iterator[EnginePool]:
    started = connect(config.runtime, engine=config.engine)
    pool = EnginePool(config, models={"policy": config.policy.model})
    yield pool
    pool.close()
    if started:
        disconnect()


@pytest.fixture(scope="module")
def engine(pool: EnginePool, config: RunConfig) -> RemoteEngine:
    runtime = replace(config.runtime, engine_group=pool.group)
    engine = find_engines(replace(config, runtime=runtime), roles=["policy"])["policy"]
    engine.publish = pool.push
    return engine


def greedy(engine: Engine) -> Completion:
    request = GenerationRequest(
        conversation_id="c", prompt_ids=(70, 71, 72), max_new_tokens=8, stop_ids=(), temperature=0.0
    )
    return asyncio.run(engine.generate(request))


def own(model: PreTrainedModel) -> TransformersEngine:
    return TransformersEngine(model, max_context=MAX_CONTEXT)


def test_it_keeps_the_contract(engine: RemoteEngine) -> None:
    check_engine(engine, prompt=[70, 71, 72], stop_ids=[10])


def test_pushed_weights_answer_as_the_same_model_here_does(
    engine: RemoteEngine, model: PreTrainedModel
) -> None:
    other = random_like(model, seed=5)
    engine.load_weights(other.state_dict(), version=3)
    said = greedy(engine)
    assert said.weights_version == 3
    assert said.token_ids == greedy(own(other)).token_ids
    assert said.token_ids != greedy(own(model)).token_ids


def test_a_killed_actor_leaves_no_process_and_comes_back_with_its_weights(
    pool: EnginePool, engine: RemoteEngine
) -> None:
    before = greedy(engine)
    victim = psutil.Process(next(iter(pool.statuses().values())).process_id)
    family = victim.children(recursive=True)
    assert family, "vLLM has processes of its own"
    os.kill(victim.pid, signal.SIGKILL)
    assert greedy(engine) == before
    _, alive = psutil.wait_procs([victim, *family], timeout=30.0)
    assert not alive
    assert pool.metrics()["time/engine_restarts"] == 1


def test_the_end_of_the_run_ends_all_its_processes(pool: EnginePool, config: RunConfig) -> None:
    actor = psutil.Process(next(iter(pool.statuses().values())).process_id)
    family = [actor, *actor.children(recursive=True)]
    pool.close()
    _, alive = psutil.wait_procs(family, timeout=30.0)
    assert not alive
