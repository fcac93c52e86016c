"""Engine actors that die, hang or cannot start: the same answers, or a clear error, soon."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from dyna.cluster.engine_pool import EnginePool
from dyna.cluster.remote_engine import RemoteEngine
from dyna.config import RunConfig
from dyna.engines.making import language_models
from dyna.protocols import Completion, EngineLostError, GenerationRequest
from dyna.training.models import load_model
from tests.cluster.episodes import played, story
from tests.cluster.test_engine_actors import make, remote_engine, with_engines
from tests.cluster.tiny_build import tiny_config

pytestmark = [pytest.mark.ray, pytest.mark.cluster]

SILENCE_S = 4.0


def slow(config: RunConfig) -> RunConfig:
    """Two actors whose every request is under way for half a second at least."""
    config = with_engines(config)
    engine = replace(
        config.engine,
        name="tests.cluster.slow_engine:SlowEngine",
        params={"seconds": 0.5},
        request_timeout_s=SILENCE_S,
    )
    return replace(config, engine=engine)


@pytest.fixture(scope="module")
def pool(local_ray: str, model_folder: str) -> Iterator[EnginePool]:
    config = slow(tiny_config(model_folder))
    pool = EnginePool(config, models={"policy": language_models(config)["policy"]})
    pool.push("policy", load_model(config.policy.model).state_dict(), 7)
    yield pool
    pool.close()


def requests(num: int = 16) -> list[GenerationRequest]:
    return [
        GenerationRequest(
            conversation_id=f"c{i}",
            prompt_ids=(70, 71, 72 + i),
            max_new_tokens=6,
            stop_ids=(),
            seed=i,
        )
        for i in range(num)
    ]


def answers(
    engine: RemoteEngine, *, meanwhile: Callable[[], None] = lambda: None
) -> list[Completion]:
    async def ask() -> list[Completion]:
        asked = [asyncio.create_task(engine.generate(request)) for request in requests()]
        await asyncio.sleep(0.2)
        meanwhile()
        return list(await asyncio.gather(*asked))

    return asyncio.run(ask())


def said(completions: list[Completion]) -> list[Any]:
    return [(c.token_ids, c.finished, c.weights_version) for c in completions]


def process(pool: EnginePool, *, index: int) -> int:
    return list(pool.statuses().values())[index].process_id


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def all_have_the_weights(pool: EnginePool) -> bool:
    statuses = pool.statuses().values()
    return len(statuses) == 2 and all(s.versions.get("policy") == 7 for s in statuses)


@pytest.fixture()
def engine(pool: EnginePool, model_folder: str) -> RemoteEngine:
    wait_until(lambda: all_have_the_weights(pool))
    engine = remote_engine(pool, model_folder, request_timeout_s=SILENCE_S)
    engine.follow(pool.pushed["policy"])
    return engine


def test_requests_of_a_killed_actor_are_answered_by_the_other(
    pool: EnginePool, engine: RemoteEngine
) -> None:
    undisturbed = answers(engine)
    victim = process(pool, index=0)
    started = time.monotonic()
    disturbed = answers(engine, meanwhile=lambda: os.kill(victim, signal.SIGKILL))
    assert said(disturbed) == said(undisturbed)
    assert time.monotonic() - started < 10.0
    wait_until(lambda: all_have_the_weights(pool))
    assert pool.metrics()["time/engine_restarts"] == 1


def test_a_hung_actor_is_left_and_replaced(pool: EnginePool, engine: RemoteEngine) -> None:
    undisturbed = answers(engine)
    victim = process(pool, index=1)
    disturbed = answers(engine, meanwhile=lambda: os.kill(victim, signal.SIGSTOP))
    assert said(disturbed) == said(undisturbed)
    wait_until(lambda: all_have_the_weights(pool))
    assert victim not in [status.process_id for status in pool.statuses().values()]
    with pytest.raises(ProcessLookupError):
        os.kill(victim, 0)


def test_players_wait_for_a_restart_when_all_are_killed(
    pool: EnginePool, engine: RemoteEngine
) -> None:
    undisturbed = answers(engine)

    def kill_all() -> None:
        for status in pool.statuses().values():
            os.kill(status.process_id, signal.SIGKILL)

    assert said(answers(engine, meanwhile=kill_all)) == said(undisturbed)


def test_a_restarted_actor_never_answers_with_the_weights_it_was_made_with(
    pool: EnginePool, engine: RemoteEngine, model_folder: str
) -> None:
    """The player heals it, should it be faster than the driver's watch."""
    config = slow(tiny_config(model_folder))
    other = load_model(config.policy.model).state_dict()
    before = said(answers(engine))
    changed = {name: tensor + 0.05 for name, tensor in other.items()}
    engine.load_weights(changed, version=8)
    after = said(answers(engine))
    assert [tokens for tokens, *_ in after] != [tokens for tokens, *_ in before]
    for victim in [status.process_id for status in pool.statuses().values()]:
        os.kill(victim, signal.SIGKILL)
    assert said(answers(engine)) == after
    pool.push("policy", other, 7)


def test_a_player_that_was_taken_for_lost_is_told(
    pool: EnginePool, engine: RemoteEngine, model_folder: str
) -> None:
    pool.push("policy", load_model(slow(tiny_config(model_folder)).policy.model).state_dict(), 7)
    with pytest.raises(EngineLostError, match="newer weights"):
        answers(engine)


def kill_when_busy(pool: EnginePool, *, role: str, over: threading.Event) -> None:
    """End the process of an actor of this role that has requests under way."""
    # Only these are asked: an answer from all would wait for those that are starting again.
    actors = [actor for actor in pool._actors if role in actor.roles]  # pyright: ignore
    while not over.wait(0.05):
        for status in ray.get([actor.handle.ping.remote() for actor in actors]):
            if status.under_way:
                os.kill(status.process_id, signal.SIGKILL)
                return


def test_a_run_plays_the_same_when_engines_are_killed_in_play_and_in_dreams(
    local_ray: str, model_folder: str, tmp_path: Path
) -> None:
    """The driver plays itself here; whoever plays asks the same engine actors."""
    config = tiny_config(model_folder, output=str(tmp_path))
    alone, shared = make(config), make(slow(config))
    over = threading.Event()
    try:
        for round in range(2):
            pool = shared.engines
            assert pool is not None
            if round == 1:
                # Only dreams ask the world model.
                killers = [
                    threading.Thread(
                        target=kill_when_busy, args=(pool,), kwargs={"role": role, "over": over}
                    )
                    for role in ("policy", "world_model")
                ]
                for killer in killers:
                    killer.start()
            alone.train()
            shared.train()
            assert story(played(shared, round)) == story(played(alone, round))
        for killer in killers:
            killer.join(timeout=60.0)
            assert not killer.is_alive()
        wait_until(lambda: pool.metrics()["engine/ready_actors"] == 4)
        assert pool.metrics()["time/engine_restarts"] == 2
    finally:
        over.set()
        shared.stop()
        alone.stop()
