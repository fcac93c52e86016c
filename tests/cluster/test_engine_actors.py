"""Engines in actors of their own, shared by all who play: the same experience, and no leftovers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from dyna.cluster.engine_actor import NAMESPACE
from dyna.cluster.engine_pool import EnginePool
from dyna.cluster.remote_engine import RemoteEngine, find_engines
from dyna.config import Backend, RunConfig
from dyna.engines.making import language_models
from dyna.protocols import GenerationRequest
from dyna.rllib import Dyna, DynaConfig
from dyna.testing import check_engine
from tests.cluster.episodes import played, story
from tests.cluster.tiny_build import tiny_config

pytestmark = pytest.mark.ray


def with_engines(config: RunConfig, *, num_actors: int = 2) -> RunConfig:
    engine = replace(
        config.engine,
        num_actors=num_actors,
        num_cpus=0.5,
        request_timeout_s=20.0,
        start_timeout_s=300.0,
    )
    runtime = replace(config.runtime, backend=Backend.RLLIB)
    return replace(config, engine=engine, runtime=runtime)


def make(config: RunConfig) -> Dyna:
    return Dyna(DynaConfig().dyna(run_config=config, build="tests.cluster.tiny_build"))


def engine_actors() -> list[str]:
    named: Any = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in named if actor["namespace"] == NAMESPACE]


def test_players_with_shared_engines_play_what_players_with_their_own_do(
    local_ray: str, model_folder: str, tmp_path: Path
) -> None:
    config = tiny_config(model_folder, output=str(tmp_path), num_env_runners=2)
    alone = make(replace(config, runtime=replace(config.runtime, num_env_runners=0)))
    shared = make(with_engines(config))
    try:
        for round in range(2):
            alone.train()
            metrics = shared.train()["dyna"]
            assert story(played(shared, round)) == story(played(alone, round))
        versions = [dict(status.versions) for status in shared.engines.statuses().values()]  # pyright: ignore
        policy, model = shared.run.published.values()
        assert versions == [
            *[{"policy": policy().version}] * 2,
            *[{"world_model": model().version}] * 2,
        ]
        assert policy().version > 0
        assert metrics["time/engine_restarts"] == 0
        assert metrics["engine/ready_actors"] == 4
        assert metrics["engine/tokens_per_s"] > 0
        assert len(engine_actors()) == 4
    finally:
        shared.stop()
        alone.stop()
    assert engine_actors() == []


@pytest.fixture(scope="module")
def pool(local_ray: str, model_folder: str) -> Iterator[EnginePool]:
    config = with_engines(tiny_config(model_folder))
    models = {"policy": language_models(config)["policy"]}
    pool = EnginePool(config, models=models)
    yield pool
    pool.close()


def remote_engine(
    pool: EnginePool, model_folder: str, *, num_actors: int = 2, request_timeout_s: float = 20.0
) -> RemoteEngine:
    config = with_engines(tiny_config(model_folder), num_actors=num_actors)
    config = replace(
        config,
        engine=replace(config.engine, request_timeout_s=request_timeout_s),
        runtime=replace(config.runtime, engine_group=pool.group),
    )
    engine = find_engines(config, roles=["policy"])["policy"]
    engine.publish = pool.push
    return engine


def tokens_read(pool: EnginePool) -> list[int]:
    """Of each actor."""
    handles = [ray.get_actor(name, namespace=NAMESPACE) for name in pool.statuses()]
    return ray.get([h.__ray_call__.remote(_tokens_read) for h in handles])


def _tokens_read(actor: Any) -> int:
    return actor._engines["policy"].stats.tokens_read


def test_a_conversation_stays_with_the_actor_that_holds_its_prefix(
    pool: EnginePool, model_folder: str
) -> None:
    engine = remote_engine(pool, model_folder)
    prompts = [(70, 71 + i) * 10 for i in range(8)]

    async def ask() -> list[tuple[int, ...]]:
        asked = [
            GenerationRequest(
                conversation_id=f"c{i}", prompt_ids=prompt, max_new_tokens=4, stop_ids=()
            )
            for i, prompt in enumerate(prompts)
        ]
        return [c.token_ids for c in await asyncio.gather(*map(engine.generate, asked))]

    said = asyncio.run(ask())
    first = tokens_read(pool)
    assert all(first)
    new = (80, 81, 82)
    prompts = [prompt + words + new for prompt, words in zip(prompts, said, strict=True)]
    asyncio.run(ask())
    # The last token that was sampled has not been read yet.
    assert sum(tokens_read(pool)) - sum(first) == len(prompts) * (1 + len(new))


def test_a_remote_engine_keeps_the_contract(pool: EnginePool, model_folder: str) -> None:
    check_engine(remote_engine(pool, model_folder), prompt=[70, 71, 72], stop_ids=[10])
