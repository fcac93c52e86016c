"""The vLLM engine keeps the contract and says what the transformers engine says."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from dyna.engines.contract import check_engine
from dyna.protocols import Completion
from tests.vllm.asking import STOP, ask, assert_same, prompt, reference, request, requests
from tests.vllm.conftest import MAX_CONTEXT, Served

pytestmark = pytest.mark.vllm

CHOICES = ((5, 6, 9, STOP), (5, STOP), (8, 8, 8, STOP), (8, 8, 9, 10, 11, STOP))


def test_it_keeps_the_contract(tied: Served) -> None:
    check_engine(tied.engine, prompt=prompt(9), stop_ids=(STOP,))


def test_greedy_answers_and_log_probs_equal_those_of_transformers(tied: Served) -> None:
    asked = requests(10, max_new_tokens=24)
    assert_same(ask(tied.engine, asked), ask(reference(tied.model), asked), tolerance=1e-4)


def test_conversations_that_grow_turn_by_turn_stay_right(tied: Served) -> None:
    """Prompts that begin with what was said before are found in the prefix cache."""
    other = reference(tied.model)
    ids = prompt(150)
    for turn in range(5):
        asked = [request(ids + prompt(3, seed=i), conversation_id=f"{i}") for i in range(3)]
        answers = ask(tied.engine, asked)
        assert_same(answers, ask(other, asked), tolerance=1e-4)
        ids = asked[0].prompt_ids + answers[0].token_ids + prompt(4, seed=turn)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_choices_come_out_whole_with_the_models_own_log_probs(
    tied: Served, temperature: float
) -> None:
    free = requests(6, temperature=1.0)
    asked = requests(12, temperature=temperature, choices=CHOICES)
    answers = ask(tied.engine, [*free, *asked])[6:]
    assert {answer.token_ids for answer in answers} <= set(CHOICES)
    assert all(answer.finished for answer in answers)
    if temperature == 0.0:
        assert_same(answers, ask(reference(tied.model), asked), tolerance=1e-4)
    else:
        assert len({answer.token_ids for answer in answers}) > 1


def test_a_choice_may_end_with_a_token_that_stands_inside_another(tied: Served) -> None:
    choices = ((5, 6), (6, 5, 7), (7, 7, 6, 6))
    asked = requests(9, choices=choices, stop_ids=())
    assert_same(ask(tied.engine, asked), ask(reference(tied.model), asked), tolerance=1e-4)


def test_a_seed_repeats_its_answer_in_any_company(tied: Served) -> None:
    asked = requests(12, temperature=1.0)
    together = ask(tied.engine, asked)
    alone = [ask(tied.engine, [one])[0] for one in asked[:4]]
    backwards = ask(tied.engine, asked[::-1])[::-1]
    assert [one.token_ids for one in alone] == [one.token_ids for one in together[:4]]
    assert [one.token_ids for one in backwards] == [one.token_ids for one in together]
    assert len({one.token_ids for one in together}) == len(together)


def test_the_same_seeds_say_the_same_as_with_transformers(tied: Served) -> None:
    """Also where there is more to read than one step takes, so that prompts are read in chunks."""
    short = [replace(one, choices=CHOICES) for one in requests(4, temperature=0.7)]
    long = [request(prompt(400, seed=i), temperature=1.0, seed=50 + i) for i in range(10)]
    asked = [*requests(6, temperature=1.3), *short, *long]
    assert_same(ask(tied.engine, asked), ask(reference(tied.model), asked), tolerance=1e-4)


def test_two_event_loops_may_ask_at_once(tied: Served) -> None:
    asked = requests(6, max_new_tokens=40)
    expected = ask(tied.engine, asked)
    found: dict[int, list[Completion]] = {}

    def play(number: int) -> None:
        found[number] = ask(tied.engine, asked)

    threads = [threading.Thread(target=play, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60.0)
    assert len(found) == 3
    for answers in found.values():
        assert_same(answers, expected, tolerance=1e-5)


def test_a_request_that_was_given_up_leaves_the_others_alone(tied: Served) -> None:
    async def play() -> list[Completion]:
        long = [request(prompt(9, seed=i), max_new_tokens=400, stop_ids=()) for i in range(4)]
        given_up = [asyncio.ensure_future(tied.engine.generate(one)) for one in long]
        await asyncio.sleep(0.05)
        for task in given_up:
            task.cancel()
        await asyncio.gather(*given_up, return_exceptions=True)
        assert all(task.cancelled() for task in given_up)
        return list(await asyncio.gather(*map(tied.engine.generate, requests(4))))

    assert_same(asyncio.run(play()), ask(reference(tied.model), requests(4)), tolerance=1e-4)


def test_the_context_ends_a_continuation(tied: Served) -> None:
    asked = request(prompt(MAX_CONTEXT - 5), max_new_tokens=50, stop_ids=())
    answer = ask(tied.engine, [asked])[0]
    assert len(answer.token_ids) == 5
    assert not answer.finished


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt_ids": ()}, "must not be empty"),
        ({"prompt_ids": (1,) * MAX_CONTEXT}, "leaves no room"),
        ({"prompt_ids": (1, 260)}, "vocabulary"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"choices": ((5,), (5, 6))}, "prefix"),
        ({"choices": ((5, 6, 7, 8),), "max_new_tokens": 3}, "longest choice"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    tied: Served, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        ask(tied.engine, [replace(request(prompt(5)), **changes)])
