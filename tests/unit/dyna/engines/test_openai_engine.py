"""The engine of token ids over a server: what it asks for, what it makes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from dyna.configuring import ConfigError
from dyna.engines.contract import check_engine
from dyna.engines.openai import OpenAIEngine, ServerError
from dyna.protocols import Completion, Engine, GenerationRequest
from dyna.spending import Meter
from tests.unit.dyna.engines.loopback_server import Loopback, Reaction, serving

STOP = 3


@pytest.fixture
def server() -> Generator[Loopback]:
    with serving(Loopback(say=lambda body: "ab")) as loopback:
        yield loopback


def make(loopback: Loopback, **options: Any) -> OpenAIEngine:
    return OpenAIEngine(loopback.settings, max_context=64, meter=Meter(), **options)


def request(**changes: Any) -> GenerationRequest:
    fields: dict[str, Any] = {
        "conversation_id": "c",
        "prompt_ids": (10, 11, 12),
        "max_new_tokens": 8,
        "stop_ids": (STOP,),
        "seed": 2**64 + 5,
    }
    return GenerationRequest(**(fields | changes))


def generate(engine: OpenAIEngine, asked: GenerationRequest) -> Completion:
    return asyncio.run(engine.generate(asked))


def test_it_satisfies_the_contract(server: Loopback) -> None:
    engine = make(server)
    assert isinstance(engine, Engine)
    check_engine(engine, prompt=(5, 6), stop_ids=(STOP,))
    check_engine(engine, prompt=(5, 6), max_new_tokens=1)


def test_it_asks_for_ids_and_log_probs_and_takes_them_as_they_are(server: Loopback) -> None:
    completion = generate(make(server, check=False), request(temperature=0.7))
    assert completion == Completion(
        token_ids=(ord("a"), ord("b"), STOP), log_probs=(-0.25,) * 3, finished=True
    )
    (body,) = server.calls
    assert body["prompt"] == [10, 11, 12] and body["stop_token_ids"] == [STOP]
    assert body["return_token_ids"] and body["ignore_eos"] and body["logprobs"] == 1
    assert body["temperature"] == 0.7 and body["max_tokens"] == 8
    assert 0 <= body["seed"] < 2**63


def test_what_was_cut_is_not_finished(server: Loopback) -> None:
    assert not generate(make(server), request(max_new_tokens=2)).finished


def test_the_context_bounds_what_is_asked_for(server: Loopback) -> None:
    engine = make(server, check=False)
    generate(engine, request(prompt_ids=(1,) * 60))
    assert server.calls[0]["max_tokens"] == 4
    with pytest.raises(ValueError, match="max_context=64"):
        generate(engine, request(prompt_ids=(1,) * 64))


def test_choices_are_walked_where_they_part_and_scored_as_they_stand(server: Loopback) -> None:
    engine = make(server, check=False)
    choices = ((20, 21, 22, STOP), (20, 21, 24, 25, STOP), (20, 21, 24, 26, STOP))
    server.say = lambda body: ""
    completion = generate(engine, request(choices=choices))
    # The server takes the first of the allowed tokens: 22, and there is nothing left to decide.
    assert completion.token_ids == choices[0] and completion.finished
    assert [body.get("allowed_token_ids") for body in server.calls] == [[22, 24], None]
    assert server.calls[0]["prompt"] == [10, 11, 12, 20, 21]
    assert server.calls[1]["prompt"] == [10, 11, 12, *choices[0]]
    assert completion.log_probs == pytest.approx([-0.20, -0.21, -0.22, -0.03])


def test_weights_are_refused_and_the_version_stays(server: Loopback) -> None:
    engine = make(server)
    with pytest.raises(ConfigError, match="takes no weights"):
        engine.load_weights({}, version=3)
    assert engine.weights_version == 0


@pytest.mark.parametrize("missing", ["log-probs", "token ids"])
def test_a_server_that_cannot_be_an_engine_is_found_out_at_the_start(
    server: Loopback, missing: str
) -> None:
    if missing == "log-probs":
        server.log_probs = False
    else:
        server.script = [Reaction(body='{"choices": [{"text": "a", "finish_reason": "stop"}]}')]
    with pytest.raises(ConfigError, match="cannot be an engine"):
        make(server)


def test_constraints_that_the_server_does_not_heed_are_found_out(server: Loopback) -> None:
    body = '{"choices": [{"token_ids": [99], "logprobs": {"token_logprobs": [-1.0]}}]}'
    server.script = [Reaction(body=body)]
    with pytest.raises(ServerError, match="allowed_token_ids"):
        generate(make(server, check=False), request(choices=((1, STOP), (2, STOP))))


def test_a_client_can_be_made_inside_an_event_loop(server: Loopback) -> None:
    async def inside() -> Completion:
        return await make(server).generate(request())

    assert asyncio.run(inside()).finished
