"""Two adapters over one base in one vLLM: each says its own, swapped by name."""

from __future__ import annotations

import asyncio

import pytest
import torch
from transformers import PreTrainedModel

from dyna.engines.contract import check_engine
from dyna.protocols import Completion
from dyna.training.lora import adapter_parameters
from dyna.training.models import load_model
from tests.vllm.asking import (
    STOP,
    ask,
    ask_each,
    assert_same,
    assert_says,
    prompt,
    reference,
    request,
    requests,
)
from tests.vllm.conftest import Served

pytestmark = pytest.mark.vllm


def adapted(served: Served, *, seed: int) -> PreTrainedModel:
    """The base with an adapter of random weights."""
    model = load_model(served.config)
    source = torch.Generator().manual_seed(seed)
    for parameter in adapter_parameters(model).values():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=source)
    return model


def tensors(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: parameter.detach() for name, parameter in adapter_parameters(model).items()}


def test_both_adapters_share_a_batch_and_say_their_own(shared: Served) -> None:
    policy, world_model = (shared.engine.adapter(name) for name in ("policy", "world_model"))
    asked = requests(6)
    base = ask(reference(shared.model), asked)
    if policy.weights_version == world_model.weights_version == 0:
        assert_same(ask(policy, asked), base, tolerance=1e-4)
    first, second = adapted(shared, seed=1), adapted(shared, seed=2)
    policy.load_weights(tensors(first), version=3)
    world_model.load_weights(tensors(second), version=8)
    mixed = ask_each([(view, one) for one in asked for view in (policy, world_model)])
    assert {one.weights_version for one in mixed[::2]} == {3}
    assert {one.weights_version for one in mixed[1::2]} == {8}
    assert_same(mixed[::2], ask(reference(first), asked), tolerance=1e-4)
    assert_same(mixed[1::2], ask(reference(second), asked), tolerance=1e-4)


def test_a_view_keeps_the_contract(shared: Served) -> None:
    check_engine(shared.engine.adapter("policy"), prompt=prompt(9), stop_ids=(STOP,))


def test_an_adapter_is_swapped_while_the_other_goes_on(shared: Served) -> None:
    policy, world_model = (shared.engine.adapter(name) for name in ("policy", "world_model"))
    models = {20: adapted(shared, seed=20), 21: adapted(shared, seed=21)}
    policy.load_weights(tensors(models[20]), version=20)
    world_model.load_weights(tensors(models[20]), version=5)
    asked = [
        request(prompt(160 + i, seed=i), max_new_tokens=100, stop_ids=(), temperature=1.0, seed=i)
        for i in range(10)
    ]

    async def play() -> list[Completion]:
        tasks = [
            asyncio.ensure_future(view.generate(one))
            for one in asked
            for view in (policy, world_model)
        ]
        await asyncio.sleep(0.3)
        weights = tensors(models[21])
        await asyncio.to_thread(policy.load_weights, weights, version=21)
        return list(await asyncio.gather(*tasks))

    answers = asyncio.run(play())
    assert {one.weights_version for one in answers[1::2]} == {5}
    assert 21 in {one.weights_version for one in answers[::2]}
    for answer, one in zip(answers[::2], asked, strict=True):
        assert_says([answer], models[answer.weights_version], [one], tolerance=1e-3)
    assert_says(answers[1::2], models[20], asked, tolerance=1e-3)


def test_many_swaps_leave_no_old_adapter_behind(shared: Served) -> None:
    policy = shared.engine.adapter("policy")
    asked = [request(prompt(300))]
    for seed in range(40, 46):
        model = adapted(shared, seed=seed)
        policy.load_weights(tensors(model), version=seed)
        assert_same(ask(policy, asked), ask(reference(model), asked), tolerance=1e-4)


def test_an_adapter_of_another_base_is_refused(shared: Served) -> None:
    policy = shared.engine.adapter("policy")
    good = tensors(adapted(shared, seed=1))
    version = policy.weights_version
    name = next(iter(good))
    for bad, words in (
        ({key: value for key, value in good.items() if key != name}, "lacks 1 names"),
        ({**good, name: torch.zeros(4, 96)}, "must have shape"),
        ({name.replace("layers.0", "layers.9"): good[name], **good}, "layers.9"),
        (shared.model.state_dict(), "the model lacks"),
    ):
        with pytest.raises(ValueError, match=words):
            policy.load_weights(bad, version=99)
    assert policy.weights_version == version
    with pytest.raises(ValueError, match="by adapter"):
        shared.engine.load_weights(good, version=99)
