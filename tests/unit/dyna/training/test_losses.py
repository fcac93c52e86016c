"""Losses and gradients against a reference written token by token."""

from __future__ import annotations

import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, Qwen2ForCausalLM

from dyna.config import OptimizerConfig
from dyna.training.models import tiny_config
from dyna.training.packing import StreamTotals
from dyna.training.trainer import TokenTrainer
from dyna.types import SoftTargets, TrainingSample

VOCAB = 37


def tiny_model(seed: int = 0) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        tiny_config(VOCAB, hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64)
    )


def random_sample(rng: random.Random, *, length: int) -> TrainingSample:
    """All streams at once, on positions that overlap by chance."""
    rl_mask = [0.0] + [float(rng.random() < 0.5) for _ in range(length - 1)]
    spoken = [0.0] + [float(rng.random() < 0.4) for _ in range(length - 1)]
    soft = [0.0] + [0.4 * (rng.random() < 0.3) for _ in range(length - 1)]
    top_k = rng.randint(1, 4)
    return TrainingSample(
        token_ids=tuple(rng.randrange(VOCAB) for _ in range(length)),
        ce=tuple(x * rng.choice([1.0, 0.5]) for x in spoken),
        rl=tuple(x * rng.uniform(-2, 2) for x in rl_mask),
        rl_mask=tuple(rl_mask),
        old_log_probs=tuple(x * rng.uniform(-4.5, -2.7) for x in rl_mask),
        ref_kl=tuple(0.3 * x for x in rl_mask),
        soft=tuple(soft),
        soft_targets=stored(rng, num_places=sum(map(bool, soft)), top_k=top_k),
    )


def stored(rng: random.Random, *, num_places: int, top_k: int) -> SoftTargets:
    """Distinct tokens at each place, with nine tenths of the probability between them."""
    shares = [[rng.random() for _ in range(top_k)] for _ in range(num_places)]
    return SoftTargets(
        top_k=top_k,
        token_ids=tuple(t for _ in shares for t in rng.sample(range(VOCAB), top_k)),
        log_probs=tuple(math.log(0.9 * x / sum(of_place)) for of_place in shares for x in of_place),
    )


def naive_loss(
    model: PreTrainedModel,
    *,
    samples: list[TrainingSample],
    reference: PreTrainedModel,
    clip_low: float,
    clip_high: float,
    ce_scale: float,
) -> torch.Tensor:
    """One sample at a time, one token at a time, from the definitions."""
    rl_terms, ce_terms, kl_terms, soft_terms, ce_weights = [], [], [], [], []
    for sample in samples:
        ids = torch.tensor([sample.token_ids])
        ours = torch.log_softmax(model(input_ids=ids).logits[0], dim=-1)
        theirs = torch.log_softmax(reference(input_ids=ids).logits[0], dim=-1).detach()
        for t in range(1, len(sample.token_ids)):
            log_prob = ours[t - 1, sample.token_ids[t]]
            if sample.ce[t]:
                ce_terms.append(-sample.ce[t] * log_prob)
                ce_weights.append(abs(sample.ce[t]))
            if sample.rl_mask[t]:
                ratio = torch.exp(log_prob - sample.old_log_probs[t])
                low, high = 1 - clip_low, 1 + clip_high
                clipped = torch.clamp(ratio, low, high)
                rl_terms.append(-torch.minimum(ratio * sample.rl[t], clipped * sample.rl[t]))
            if sample.ref_kl[t]:
                divergence = (ours[t - 1].exp() * (ours[t - 1] - theirs[t - 1])).sum()
                kl_terms.append(sample.ref_kl[t] * divergence)
        soft_terms += naive_soft_terms(ours, sample=sample)
    return (
        torch.stack(rl_terms).mean()
        + ce_scale * torch.stack(ce_terms).sum() / sum(ce_weights)
        + torch.stack(kl_terms).mean()
        + torch.stack(soft_terms).mean()
    )


def naive_soft_terms(ours: torch.Tensor, *, sample: TrainingSample) -> list[torch.Tensor]:
    """KL(stored || ours) over the stored tokens and one remainder."""
    targets, terms = sample.soft_targets, []
    assert targets is not None
    places = [t for t, weight in enumerate(sample.soft) if weight]
    for place, t in enumerate(places):
        span = slice(place * targets.top_k, (place + 1) * targets.top_k)
        given = torch.tensor(targets.log_probs[span]).exp()
        own = ours[t - 1].exp()[list(targets.token_ids[span])]
        p, q = torch.cat([given, 1 - given.sum()[None]]), torch.cat([own, 1 - own.sum()[None]])
        terms.append(sample.soft[t] * (p * (p / q).log()).sum())
    return terms


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_close(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], atol=1e-5, rtol=1e-4, msg=name)


@pytest.mark.parametrize("tokens_per_pass", [1, 50, 4096])
def test_packed_loss_and_gradients_equal_the_naive_ones(tokens_per_pass: int) -> None:
    rng = random.Random(1)
    samples = [random_sample(rng, length=rng.randint(3, 40)) for _ in range(9)]
    model, reference = tiny_model(), tiny_model(1)
    naive = naive_loss(
        model, samples=samples, reference=reference, clip_low=0.1, clip_high=0.3, ce_scale=0.7
    )
    naive.backward()
    expected = gradients(model)
    model.zero_grad()

    trainer = TokenTrainer(
        model,
        optimizer=OptimizerConfig(tokens_per_pass=tokens_per_pass),
        clip_low=0.1,
        clip_high=0.3,
        reference=reference,
    )
    metrics = trainer.forward_backward(samples, ce_scale=0.7)

    assert metrics["loss"] == pytest.approx(naive.item(), abs=1e-5)
    assert metrics["padding_waste"] == 0.0
    assert 0.0 < metrics["clip_fraction"] < 1.0
    assert_close(gradients(model), expected)


def test_two_learners_with_shared_totals_add_up_to_one() -> None:
    rng = random.Random(2)
    samples = [random_sample(rng, length=rng.randint(3, 30)) for _ in range(7)]
    whole, parts = tiny_model(), tiny_model()
    reference = tiny_model(1)
    one = TokenTrainer(whole, optimizer=OptimizerConfig(), reference=reference)
    two = TokenTrainer(parts, optimizer=OptimizerConfig(), reference=reference)
    metrics = one.forward_backward(samples)
    totals = StreamTotals.of(samples[:3]) + StreamTotals.of(samples[3:])
    losses = [
        two.forward_backward(part, totals=totals)["loss"] for part in (samples[:3], samples[3:])
    ]
    assert sum(losses) == pytest.approx(metrics["loss"], abs=1e-5)
    assert_close(gradients(parts), gradients(whole))


def test_a_model_without_pluggable_layers_is_trained_one_sample_per_row() -> None:
    torch.manual_seed(0)
    config = tiny_config(VOCAB, hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64)
    config.layer_types = ["sliding_attention", "full_attention"]
    config.sliding_window = 8
    config.use_sliding_window = True
    model = Qwen2ForCausalLM(config)
    rng = random.Random(3)
    samples = [random_sample(rng, length=25) for _ in range(3)]
    naive = naive_loss(
        model, samples=samples, reference=model, clip_low=0.2, clip_high=0.2, ce_scale=1.0
    )
    naive.backward()
    expected = gradients(model)
    model.zero_grad()
    trainer = TokenTrainer(model, optimizer=OptimizerConfig(), reference=model)
    assert trainer.forward_backward(samples)["loss"] == pytest.approx(naive.item(), abs=1e-5)
    assert_close(gradients(model), expected)


def test_another_architecture_packs_too() -> None:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=2)).eval()
    rng = random.Random(4)
    samples = [random_sample(rng, length=rng.randint(5, 30)) for _ in range(4)]
    naive = naive_loss(
        model, samples=samples, reference=model, clip_low=0.2, clip_high=0.2, ce_scale=1.0
    )
    naive.backward()
    expected = gradients(model)
    model.zero_grad()
    trainer = TokenTrainer(model, optimizer=OptimizerConfig(), reference=model)
    trainer.forward_backward(samples)
    assert_close(gradients(model), expected)


def test_tokens_outside_every_stream_get_no_gradient() -> None:
    model = tiny_model()
    trainer = TokenTrainer(model, optimizer=OptimizerConfig())
    ids = (1, 2, 3, 4, 5, 6)
    first = trainer.forward_backward([TrainingSample(token_ids=ids, ce=(0, 0, 1, 1, 0, 0))])
    kept = gradients(model)
    model.zero_grad()
    # What follows the last trained token is not even read.
    other = TrainingSample(token_ids=(*ids[:4], 30, 31), ce=(0, 0, 1, 1, 0, 0))
    second = trainer.forward_backward([other])
    assert first == second
    assert first["tokens"] == 3.0
    assert_close(gradients(model), kept)


def test_rl_mask_counts_tokens_of_advantage_zero() -> None:
    model = tiny_model()
    trainer = TokenTrainer(model, optimizer=OptimizerConfig())
    model.eval()
    ids = (1, 2, 3)
    with torch.no_grad():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    old = (0.0, log_probs[0, 2].item(), log_probs[1, 3].item())
    sample = TrainingSample(token_ids=ids, rl=(0, 1, 0), rl_mask=(0, 1, 1), old_log_probs=old)
    metrics = trainer.forward_backward([sample])
    assert metrics["loss_rl"] == pytest.approx(-0.5, abs=1e-6)
    assert metrics["ratio_mean"] == pytest.approx(1.0, abs=1e-5)
    assert metrics["approx_kl"] == pytest.approx(0.0, abs=1e-6)
    assert 0.9 * math.log(VOCAB) < metrics["entropy"] <= math.log(VOCAB)


def test_a_kl_without_a_reference_is_refused() -> None:
    trainer = TokenTrainer(tiny_model(), optimizer=OptimizerConfig())
    with pytest.raises(ValueError, match="no reference"):
        trainer.forward_backward([TrainingSample(token_ids=(1, 2), ref_kl=(0, 1))])


def test_a_model_is_at_no_distance_from_its_own_predictions() -> None:
    model = tiny_model()
    ids = (1, 2, 3, 4)
    with torch.no_grad():
        log_probs = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    best = log_probs[:3].topk(5, dim=1)
    sample = TrainingSample(
        token_ids=ids,
        soft=(0, 1, 1, 1),
        soft_targets=SoftTargets(
            top_k=5,
            token_ids=tuple(best.indices.flatten().tolist()),
            log_probs=tuple(best.values.half().double().flatten().tolist()),
        ),
    )
    metrics = TokenTrainer(model, optimizer=OptimizerConfig()).forward_backward([sample])
    assert metrics["loss_soft"] == pytest.approx(0.0, abs=1e-5)
    assert metrics["loss"] == metrics["loss_soft"]
    assert max(float(g.abs().max()) for g in gradients(model).values()) < 1e-2


@pytest.mark.parametrize(
    "targets",
    [
        None,
        SoftTargets(top_k=2, token_ids=(1, 2, 3), log_probs=(-1.0, -1.0, -1.0)),
        SoftTargets(top_k=0, token_ids=(), log_probs=()),
    ],
)
def test_soft_weights_without_their_predictions_are_refused(targets: SoftTargets | None) -> None:
    sample = TrainingSample(token_ids=(1, 2, 3), soft=(0, 1, 1), soft_targets=targets)
    with pytest.raises(ValueError, match="2 soft weights needs soft_targets"):
        StreamTotals.of([sample])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), tokens_per_pass=st.integers(1, 120))
def test_how_samples_are_packed_changes_nothing(seed: int, tokens_per_pass: int) -> None:
    rng = random.Random(seed)
    samples = [random_sample(rng, length=rng.randint(3, 30)) for _ in range(5)]
    reference = tiny_model(1)
    models = [tiny_model(), tiny_model()]
    for model, bound in zip(models, (4096, tokens_per_pass), strict=True):
        optimizer = OptimizerConfig(tokens_per_pass=bound)
        TokenTrainer(model, optimizer=optimizer, reference=reference).forward_backward(samples)
    assert_close(gradients(models[0]), gradients(models[1]))
