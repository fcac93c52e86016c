"""The client of a model server against a real server that misbehaves."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Generator
from dataclasses import replace
from email.utils import formatdate
from typing import Any

import pytest

from dyna.configuring import ConfigError
from dyna.engines.openai import ChatReply, ChatServer, ServerError, ServerSettings
from dyna.engines.openai.rate_limit import RateLimit
from dyna.rendering import ContextOverflow
from dyna.spending import Meter, SpendLimitError, Usage
from tests.unit.dyna.engines.loopback_server import Loopback, Reaction, free_port, serving


@pytest.fixture
def server() -> Generator[Loopback]:
    with serving(Loopback()) as loopback:
        yield loopback


class Partner:
    """A chat server with a meter of its own."""

    def __init__(self, loopback: Loopback, **settings: Any) -> None:
        self.meter = Meter()
        self.server = ChatServer(loopback.settings | settings, meter=self.meter)

    async def ask(self, text: str = "hello", **options: Any) -> ChatReply:
        return await self.server.chat(
            [("user", text)], max_tokens=16, temperature=0.0, seed=7, **options
        )

    def say(self, **options: Any) -> ChatReply:
        return asyncio.run(self.ask(**options))


def test_a_call_says_what_was_asked_and_counts_what_it_cost(server: Loopback) -> None:
    partner = Partner(server, prompt_price=2.5, completion_price=10.0, extra_body={"top_p": 0.9})
    reply = partner.say()
    assert reply == ChatReply(text="go left", finished=True)
    assert server.calls == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 16,
            "temperature": 0.0,
            "seed": 7,
            "top_p": 0.9,
        }
    ]
    usage = partner.meter.take()
    assert usage == Usage(calls=1, prompt_tokens=100, completion_tokens=10, cost=usage.cost)
    assert usage.cost == pytest.approx(0.00035)
    assert partner.meter.take() == Usage()


def test_fields_that_a_server_does_not_know_are_left_out(server: Loopback) -> None:
    Partner(server, omit=["seed", "temperature"]).say()
    assert set(server.calls[0]) == {"model", "messages", "max_tokens"}


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again_and_every_attempt_is_counted(
    server: Loopback, status: int
) -> None:
    told = '{"error": {"message": "busy"}, "usage": {"prompt_tokens": 7, "completion_tokens": 0}}'
    server.script = [Reaction(status=status, body=told), Reaction(status=status)]
    partner = Partner(server, prompt_price=1.0)
    assert partner.say().text == "go left"
    usage = partner.meter.take()
    assert (usage.calls, usage.failed_calls, usage.prompt_tokens) == (3, 2, 107)
    assert usage.cost == pytest.approx(107e-6)


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(cut=True),
        Reaction(body='{"choices": [{"mess'),
        Reaction(body='{"choices": []}'),
        Reaction(body="[1, 2]"),
        Reaction(after_s=3.0),
    ],
    ids=["cut connection", "half a JSON", "no choices", "no object", "slow"],
)
def test_an_answer_that_is_none_is_asked_for_again(server: Loopback, reaction: Reaction) -> None:
    server.script = [reaction]
    partner = Partner(server, timeout_s=1.5)
    assert partner.say().text == "go left"
    assert partner.meter.take().failed_calls == 1


def test_waits_grow_and_end(server: Loopback) -> None:
    server.script = [Reaction(status=500)] * 4
    partner = Partner(server, max_retries=3, first_wait_s=0.1, max_wait_s=0.2)
    with pytest.raises(ServerError, match=r"no answer in 4 attempts.*status 500") as caught:
        partner.say()
    assert caught.value.is_passing
    gaps = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert len(gaps) == 3
    assert gaps[0] >= 0.075 and gaps[1] >= 0.15 and gaps[2] >= 0.15


@pytest.mark.parametrize(
    "headers", [{"retry-after": "0.5"}, {"retry-after-ms": "500"}], ids=["seconds", "milliseconds"]
)
def test_a_server_that_says_when_to_come_back_is_obeyed_by_all_calls(
    server: Loopback, headers: dict[str, str]
) -> None:
    server.script = [Reaction(status=429, headers=headers)]
    partner = Partner(server)

    async def two() -> None:
        first = asyncio.create_task(partner.ask("first"))
        while not server.times:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        await asyncio.gather(first, partner.ask("second"))

    asyncio.run(two())
    assert len(server.times) == 3
    assert min(server.times[1:]) - server.times[0] >= 0.5


def test_a_date_to_come_back_at_is_understood(server: Loopback) -> None:
    server.script = [
        Reaction(status=503, headers={"retry-after": formatdate(time.time() + 2, usegmt=True)})
    ]
    Partner(server).say()
    assert server.times[1] - server.times[0] >= 0.9


def test_a_wait_beyond_all_patience_fails_at_once(server: Loopback) -> None:
    server.script = [Reaction(status=429, headers={"retry-after": "3600"})]
    with pytest.raises(ServerError, match="max_retry_after_s"):
        Partner(server).say()
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, '{"error": {"message": "bad request"}}'),
        (404, '{"error": {"message": "no such model"}}'),
        (429, '{"error": {"message": "no money", "code": "insufficient_quota"}}'),
    ],
)
def test_what_no_waiting_helps_fails_at_once(server: Loopback, status: int, body: str) -> None:
    server.script = [Reaction(status=status, body=body)]
    with pytest.raises(ServerError) as caught:
        Partner(server).say()
    assert not caught.value.is_passing
    assert len(server.calls) == 1


def test_a_prompt_that_is_too_long_is_an_overflow(server: Loopback) -> None:
    body = '{"error": {"message": "This model\'s maximum context length is 64 tokens"}}'
    server.script = [Reaction(status=400, body=body)]
    with pytest.raises(ContextOverflow):
        Partner(server).say()


def test_no_more_calls_at_once_than_allowed(server: Loopback) -> None:
    server.script = [Reaction(after_s=0.05)] * 12
    partner = Partner(server, max_concurrent=3)

    async def many() -> None:
        await asyncio.gather(*(partner.ask() for _ in range(12)))

    asyncio.run(many())
    assert 1 < server.most_at_once <= 3


def test_callers_on_several_event_loops_at_once_share_one_client(server: Loopback) -> None:
    partner = Partner(server)
    replies: list[str] = []
    threads = [
        threading.Thread(target=lambda: replies.append(partner.say().text)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["go left"] * 4


def test_a_closed_client_says_so_and_its_thread_is_gone(server: Loopback) -> None:
    before = set(threading.enumerate())
    partner = Partner(server)
    partner.say()
    assert [t.name for t in set(threading.enumerate()) - before if "openai" in t.name] == ["openai"]
    partner.server.close()
    partner.server.close()
    with pytest.raises(RuntimeError, match="closed"):
        partner.say()
    assert not [t for t in set(threading.enumerate()) - before if "openai" in t.name]


def test_a_call_that_nobody_waits_for_any_more_is_given_up(server: Loopback) -> None:
    server.script = [Reaction(after_s=5.0)]
    partner = Partner(server)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(partner.ask(), 0.2)

    began = time.monotonic()
    asyncio.run(impatient())
    assert time.monotonic() - began < 4.5
    partner.server.close()


def test_requests_and_tokens_in_any_window_stay_within_their_limits() -> None:
    async def admitted(limit: RateLimit, tokens: list[int]) -> list[float]:
        began = time.monotonic()
        return [(await limit.admit(count)).at - began for count in tokens]

    times = asyncio.run(admitted(RateLimit(requests=3, window_s=0.3), [1] * 7))
    for index in range(len(times) - 3):
        assert times[index + 3] - times[index] >= 0.3
    times = asyncio.run(admitted(RateLimit(tokens=100, window_s=0.3), [60, 40, 60, 500, 10]))
    assert times[2] - times[0] >= 0.3
    assert times[3] >= times[2] + 0.3 and times[4] >= times[3] + 0.3


def test_tokens_are_put_right_when_the_server_has_told() -> None:
    async def run() -> float:
        limit = RateLimit(tokens=100, window_s=5.0)
        (await limit.admit(90)).tokens = 10
        began = time.monotonic()
        await limit.admit(90)
        return time.monotonic() - began

    assert asyncio.run(run()) < 4.0


def test_the_rate_limit_counts_repetitions_too(server: Loopback) -> None:
    partner = Partner(server, requests_per_minute=2)
    server.script = [Reaction(status=500)]
    partner.say()
    assert len(server.calls) == 2

    async def third() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(partner.ask(), 0.3)

    asyncio.run(third())
    assert len(server.calls) == 2


def test_a_call_that_may_go_beyond_the_limit_is_not_made(server: Loopback) -> None:
    partner = Partner(server, prompt_price=1000.0, completion_price=1000.0)
    partner.meter.open(limit=0.3)  # A call costs 0.11 by the server's account.
    partner.say(text="x" * 300)
    partner.say(text="x" * 300)
    with pytest.raises(SpendLimitError, match=r"max_spend=0\.3.*raise max_spend and resume"):
        for _ in range(5):
            partner.say(text="x" * 300)
    assert partner.meter.take().cost <= 0.3
    partner.meter.open(limit=0.3)
    partner.meter.begin_at(0.3)
    with pytest.raises(SpendLimitError):
        partner.say(text="x" * 300)


def test_calls_under_way_count_against_the_limit() -> None:
    meter = Meter()
    meter.open(limit=1.0)
    with meter.reserve(0.7), pytest.raises(SpendLimitError), meter.reserve(0.7):
        pass
    with meter.reserve(0.7):
        pass


def test_a_port_where_nobody_listens_is_named_in_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match="nobody answers"):
        ChatServer(
            {
                "model_name": "tiny",
                "base_url": f"http://127.0.0.1:{free_port()}/v1",
                "api_key_env": "",
            }
        )
    assert time.monotonic() - began < 30.0


def test_a_wrong_model_name_gets_the_nearest_one(server: Loopback) -> None:
    with pytest.raises(ConfigError, match=r"'tny' is not served.*did you mean `tiny`"):
        Partner(server, model_name="tny")


def test_keys_come_from_the_environment_and_go_nowhere_else(
    server: Loopback, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.key = "sk-very-secret"
    monkeypatch.delenv("OUR_KEY", raising=False)
    with pytest.raises(ConfigError, match="OUR_KEY is not set"):
        Partner(server, api_key_env="OUR_KEY")
    monkeypatch.setenv("OUR_KEY", "sk-wrong")
    with pytest.raises(ConfigError, match="refuses the key") as caught:
        Partner(server, api_key_env="OUR_KEY")
    assert "sk-" not in str(caught.value)
    monkeypatch.setenv("OUR_KEY", "sk-very-secret")
    with caplog.at_level(logging.DEBUG):
        server.script = [Reaction(status=500)]
        partner = Partner(server, api_key_env="OUR_KEY")
        assert partner.say().text == "go left"
    assert "sk-very-secret" not in caplog.text
    assert "sk-very-secret" not in repr(partner.server) + repr(vars(partner.server))


def test_log_probs_that_are_asked_for_and_do_not_come_are_missed(server: Loopback) -> None:
    partner = Partner(server)
    assert partner.say(log_probs=True).log_probs == (-0.5,) * len("go left")
    server.log_probs = False
    with pytest.raises(ServerError, match="no log-probs"):
        partner.say(log_probs=True)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"model_name": ""}, "model_name"),
        ({"base_url": "127.0.0.1:8000"}, "http://HOST:PORT/v1"),
        ({"base_url": "http://user:secret@host/v1"}, "must hold no credentials"),
        ({"max_concurrent": 0}, "max_concurrent must be >= 1"),
        ({"timeout_s": "long"}, "timeout_s must be a number"),
        ({"prompt_price": -1.0}, "prompt_price must be >= 0"),
        ({"request_per_minute": 5}, "did you mean `requests_per_minute`"),
    ],
)
def test_settings_that_cannot_be_used_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ChatServer({"model_name": "tiny", "api_key_env": "", **wrong}, check=False)
    assert "secret" not in str(caught.value)


def test_a_server_without_usage_still_counts_calls(server: Loopback) -> None:
    server.usage = None
    partner = Partner(server)
    partner.say()
    assert partner.meter.take() == Usage(calls=1)


def test_settings_say_what_a_call_costs() -> None:
    settings = ServerSettings(
        model_name="m", api_key_env="", prompt_price=2.5, completion_price=10.0
    )
    assert settings.cost(prompt_tokens=1000, completion_tokens=50) == pytest.approx(0.003)
    assert replace(settings, prompt_price=0.0).cost(prompt_tokens=9, completion_tokens=0) == 0.0
