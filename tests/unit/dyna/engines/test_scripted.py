"""The engine without a model keeps the same contract."""

from __future__ import annotations

import asyncio
import time

import pytest

from dyna.engines.contract import check_engine
from dyna.engines.scripted import ScriptedEngine
from dyna.protocols import GenerationRequest

REQUEST = GenerationRequest(conversation_id="a", prompt_ids=(1, 2), max_new_tokens=3, stop_ids=(9,))


def test_it_keeps_the_contract() -> None:
    check_engine(ScriptedEngine(lambda _: (4, 5, 9)), prompt=[1, 2], stop_ids=[9])


@pytest.mark.parametrize(
    ("reply", "tokens", "finished"),
    [((4, 9, 5), (4, 9), True), ((4, 5, 6, 9), (4, 5, 6), False), ((4,), (4,), False)],
)
def test_a_reply_ends_at_its_stop_token_or_at_the_limit(
    reply: tuple[int, ...], tokens: tuple[int, ...], finished: bool
) -> None:
    completion = asyncio.run(ScriptedEngine(lambda _: reply).generate(REQUEST))
    assert (completion.token_ids, completion.finished) == (tokens, finished)


def test_latency_is_shared_by_all_who_wait() -> None:
    engine = ScriptedEngine(lambda _: (4,), latency_s=0.05)

    async def ask() -> None:
        await asyncio.gather(*[engine.generate(REQUEST) for _ in range(100)])

    began = time.perf_counter()
    asyncio.run(ask())
    assert 0.05 <= time.perf_counter() - began < 2.0
