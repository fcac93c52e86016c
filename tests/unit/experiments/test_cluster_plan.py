"""The plan's formulas, each on numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.arithmetic import H100, QWEN25_7B, Gpu
from experiments.cluster_plan import (
    Conversation,
    LoopCosts,
    Reached,
    RealWorld,
    Setup,
    balance,
    broadcast_s,
    engine_rates,
    learner_steps_per_s,
    make_plan,
    object_store_s,
)

COSTS = LoopCosts(
    driver_cpu_s=1e-5,
    learning_cpu_s_per_token=1e-6,
    actor_cpu_s=3e-4,
    bytes_per_token=15.0,
    sample_bytes_per_token=30.0,
)
WORLD = RealWorld(step_s=0.05, reset_s=2.0)
TALK, REACHED = Conversation(), Reached()


def test_a_conversation_grows_by_what_is_said_heard_and_framed() -> None:
    assert TALK.length == 400 + 30 * 90
    assert TALK.mean_length == 400 + 15 * 90


def test_memory_limits_the_conversations_of_an_engine() -> None:
    rates = engine_rates(QWEN25_7B, gpu=H100, talk=TALK, reached=REACHED)
    left = 0.9 * 80e9 - 2 * 7_615_616_512 - 4e9
    assert rates.conversations == int(left // (2 * 3100 * 57_344))
    read = QWEN25_7B.step_bytes + rates.conversations * 1750 * 57_344
    assert rates.batch_step_s == pytest.approx(read / (0.6 * 3.35e12))
    # 80 decoded tokens per imagined step, and some reading
    assert rates.tokens_per_s == pytest.approx(80 * rates.steps_per_s)
    assert rates.tokens_per_s < rates.conversations / rates.batch_step_s


def test_one_shared_base_decodes_as_fast_as_two_engines_of_their_own() -> None:
    shared = engine_rates(QWEN25_7B, gpu=H100, talk=TALK, reached=REACHED)
    apart = engine_rates(QWEN25_7B, gpu=H100, talk=TALK, reached=REACHED, is_shared=False)
    assert apart.steps_per_s == pytest.approx(shared.steps_per_s, rel=0.01)


def test_a_gpu_too_small_for_the_model_is_refused() -> None:
    small = Gpu(name="small", memory=16e9, bandwidth=1e12, bf16_flops=1e14, link=1e10, network=1e10)
    with pytest.raises(ValueError, match="small cannot hold the model"):
        engine_rates(QWEN25_7B, gpu=small, talk=TALK, reached=REACHED)


def test_training_rate_is_flops_over_flops() -> None:
    rate = learner_steps_per_s(QWEN25_7B, gpu=H100, talk=TALK, reached=REACHED, passes=3)
    flops = QWEN25_7B.training_flops(3100, num_logits=1200)
    assert rate == pytest.approx(30 * 0.4 * 989e12 / flops)
    # The rule of thumb: six FLOPs per parameter and token, attention and embeddings apart.
    assert flops == pytest.approx(6 * 7.07e9 * 3100, rel=0.1)


def test_a_push_weighs_what_was_trained() -> None:
    everything, adapters = Setup(lora_rank=0), Setup(lora_rank=32)
    assert everything.push_bytes == 2 * 7_615_616_512
    assert adapters.push_bytes == 4 * QWEN25_7B.lora_parameters(32) == 322_961_408
    assert broadcast_s(everything) == pytest.approx(everything.push_bytes / (0.8 * 50e9))
    # one node: learner to driver, driver to node; 128 nodes: doublings to 129 holders
    assert object_store_s(everything, gpus=8) == pytest.approx(2 * everything.push_bytes / 2.5e9)
    assert object_store_s(everything, gpus=1024) == pytest.approx(9 * everything.push_bytes / 2.5e9)


def test_training_state_sets_the_least_number_of_learners() -> None:
    assert Setup(lora_rank=32).least_learners == 1
    assert Setup(lora_rank=0).least_learners == 5  # 2 x 122 GB in 60 GB each
    with pytest.raises(ValueError, match="4 H100 do not hold"):
        balance(Setup(lora_rank=0), gpus=4)


def test_engines_and_learners_keep_up_with_one_another() -> None:
    engines, learners, rate = balance(Setup(), gpus=1024)
    assert engines + learners == 1024
    made = engine_rates(QWEN25_7B, gpu=H100, talk=TALK, reached=REACHED).steps_per_s
    assert rate == pytest.approx(engines * made, rel=0.01)


def test_a_round_is_the_sum_of_its_parts() -> None:
    plan = make_plan(Setup(), gpus=8, costs=COSTS, world=WORLD)
    assert plan.parts["imagine"] == pytest.approx(8 * 512 * 30 / plan.steps_per_s)
    alone = QWEN25_7B.step_bytes / (0.6 * 3.35e12)
    assert plan.parts["real play"] == pytest.approx(2.0 + 30 * (0.05 + 40 * alone))
    assert plan.parts["weight pushes"] == 5 * object_store_s(Setup(), gpus=8)
    assert plan.parts["driver"] == 0.0
    assert plan.round_s == sum(plan.parts.values())
    assert plan.driver_cpus == pytest.approx(plan.steps_per_s * (1e-5 + 1e-6 * 3100 / 30))
    assert plan.rollout_cpus == pytest.approx(plan.steps_per_s * 3e-4)


def test_a_driver_that_is_used_up_holds_the_round_back() -> None:
    slow = replace(COSTS, driver_cpu_s=1e-2)
    plan = make_plan(Setup(), gpus=8, costs=slow, world=WORLD)
    assert plan.driver_cpus > 1
    assert plan.parts["driver"] == pytest.approx(plan.parts["imagine"] * (plan.driver_cpus - 1))
    name, share = plan.bottleneck
    assert name == "driver"
    assert share == pytest.approx(plan.parts["driver"] / plan.round_s)


def test_costs_are_read_from_the_benchmark() -> None:
    found = {
        "driver_cpu_s_per_1000_more_steps": 0.02,
        "learning_cpu_s_per_1000_steps": 0.04,
        "actor_cpu_s_per_1000_steps": 0.3,
        "bytes_per_step": 200.0,
        "sample_bytes_per_step": 400.0,
        "sample_tokens_per_step": 20.0,
    }
    costs = LoopCosts.of(found)
    assert costs.driver_cpu_s == pytest.approx(2e-5)
    assert costs.learning_cpu_s_per_token == pytest.approx(2e-6)
    assert (costs.bytes_per_token, costs.sample_bytes_per_token) == (10.0, 20.0)
