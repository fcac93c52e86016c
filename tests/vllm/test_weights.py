"""New weights in a running vLLM: loaded in place, whole, and stamped on what they say."""

from __future__ import annotations

import asyncio

import pytest
import torch

from dyna.protocols import Completion
from tests.vllm.asking import ask, assert_same, assert_says, prompt, reference, request, requests
from tests.vllm.conftest import Served

pytestmark = pytest.mark.vllm

BFLOAT16_GAP = 0.1
"""Of one token's log-prob: stale or half-loaded weights are off by several nats."""


def test_new_weights_answer_at_once_and_old_ones_can_come_back(tied: Served) -> None:
    asked = requests(8)
    before = ask(tied.engine, asked)
    new = tied.fresh(7)
    tied.engine.load_weights(new.state_dict(), version=7)
    after = ask(tied.engine, asked)
    assert {one.weights_version for one in after} == {7}
    assert tied.engine.weights_version == 7
    assert_same(after, ask(reference(new), asked), tolerance=1e-4)
    assert [one.token_ids for one in after] != [one.token_ids for one in before]
    tied.engine.load_weights(tied.model.state_dict(), version=8)
    assert_same(ask(tied.engine, asked), before, tolerance=1e-5)


def test_what_was_read_under_old_weights_is_forgotten(tied: Served) -> None:
    """A long prompt is kept in blocks; under new weights every one must be read again."""
    asked = [request(prompt(400))]
    ask(tied.engine, asked)
    new = tied.fresh(3)
    tied.engine.load_weights(new.state_dict(), version=3)
    answers = ask(tied.engine, asked)
    tied.engine.load_weights(tied.model.state_dict(), version=4)
    assert_says(answers, new, asked, tolerance=1e-4)


def test_no_completion_mixes_two_versions(tied: Served) -> None:
    """Requests that were under way start again, and say which weights they were sampled from."""
    models = {9: tied.model, 10: tied.fresh(10), 11: tied.fresh(11)}
    tied.engine.load_weights(tied.model.state_dict(), version=9)
    asked = [
        request(prompt(20 + i, seed=i), max_new_tokens=150, stop_ids=(), temperature=1.0, seed=i)
        for i in range(24)
    ]

    async def play() -> list[Completion]:
        tasks = [asyncio.ensure_future(tied.engine.generate(one)) for one in asked]
        for version in (10, 11):
            await asyncio.sleep(0.3)
            weights = models[version].state_dict()
            await asyncio.to_thread(tied.engine.load_weights, weights, version=version)
        return list(await asyncio.gather(*tasks))

    answers = asyncio.run(play())
    tied.engine.load_weights(tied.model.state_dict(), version=12)
    assert 11 in {one.weights_version for one in answers}
    for answer, one in zip(answers, asked, strict=True):
        assert_says([answer], models[answer.weights_version], [one], tolerance=1e-3)


def test_weights_that_do_not_fit_are_refused_and_change_nothing(tied: Served) -> None:
    asked = requests(3)
    before = ask(tied.engine, asked)
    weights = tied.fresh(5).state_dict()
    name = "model.layers.0.mlp.up_proj.weight"
    for bad, words in (
        ({**weights, "model.extra": torch.zeros(1)}, "model.extra"),
        ({key: weights[key] for key in weights if key != name}, "lacks 1 names"),
        ({**weights, name: torch.zeros(2, 2)}, "must have shape"),
    ):
        with pytest.raises(ValueError, match=words):
            tied.engine.load_weights(bad, version=99)
    assert_same(ask(tied.engine, asked), before, tolerance=1e-5)
    assert tied.engine.weights_version != 99


def test_an_output_layer_of_its_own_is_updated_in_bfloat16(untied: Served) -> None:
    asked = requests(6)
    for seed in (21, 22):
        new = untied.fresh(seed)
        untied.engine.load_weights(new.state_dict(), version=seed)
        answers = ask(untied.engine, asked)
        assert {one.weights_version for one in answers} == {seed}
        assert_says(answers, new, asked, tolerance=BFLOAT16_GAP)


def test_a_float32_learner_can_push_to_a_bfloat16_engine(untied: Served) -> None:
    asked = requests(4)
    new = untied.fresh(31).float()
    untied.engine.load_weights(new.state_dict(), version=31)
    assert_says(ask(untied.engine, asked), new, asked, tolerance=BFLOAT16_GAP)


def test_the_log_probs_are_the_learners_own(tied: Served) -> None:
    """The gap between engine and learner, which importance ratios would have to make up for."""
    asked = requests(12, temperature=1.0, max_new_tokens=30)
    assert_says(ask(tied.engine, asked), tied.model, asked, tolerance=1e-4)


def test_sleeping_and_waking_changes_nothing(tied: Served) -> None:
    asked = requests(4)
    before = ask(tied.engine, asked)

    async def play() -> list[Completion]:
        await asyncio.to_thread(tied.engine.sleep)
        tasks = [asyncio.ensure_future(tied.engine.generate(one)) for one in asked]
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in tasks)
        await asyncio.to_thread(tied.engine.wake)
        return list(await asyncio.gather(*tasks))

    assert_same(asyncio.run(play()), before, tolerance=1e-5)
