"""An adapter per experience: what is merged of them is what was asked for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.unit.worldmodels.regularizers.counting import (
    learn,
    make_trainer,
    make_update,
)
from worldmodels.regularizers.lora_merge import merge_adapters
from worldmodels.regularizers.lora_per_experience import LoRAPerExperience

A, B = "layer.lora_A.weight", "layer.lora_B.weight"


def adapter(*, seed: int, rank: int = 3, used: int = 3) -> dict[str, Tensor]:
    """6 inputs, 5 outputs; of the rank only `used` directions do anything."""
    source = torch.Generator().manual_seed(seed)
    b = torch.randn(5, rank, generator=source)
    b[:, used:] = 0.0
    return {A: torch.randn(rank, 6, generator=source), B: b}


def product(weights: dict[str, Tensor]) -> Tensor:
    return weights[B] @ weights[A]


def test_the_merge_of_low_ranks_is_exactly_their_average() -> None:
    adapters = [adapter(seed=seed, used=1) for seed in range(3)]
    merged, kept = merge_adapters(adapters, shares=[1 / 3] * 3)
    expected = sum(product(each) for each in adapters) / 3
    torch.testing.assert_close(product(merged), expected)
    assert kept == pytest.approx(1.0)


def test_the_merge_of_more_than_fits_is_the_best_of_its_rank() -> None:
    adapters = [adapter(seed=seed) for seed in range(2)]
    merged, kept = merge_adapters(adapters, shares=[1.0, 1.0])
    whole = product(adapters[0]) + product(adapters[1])
    left, values, right = torch.linalg.svd(whole)
    best = left[:, :3] @ torch.diag(values[:3]) @ right[:3]
    torch.testing.assert_close(product(merged), best, rtol=1e-4, atol=1e-5)
    assert kept == pytest.approx(float(values[:3].square().sum() / values.square().sum()))
    assert merged[A].shape == (3, 6) and merged[B].shape == (5, 3)


def test_one_adapter_is_its_own_merge_to_the_last_bit() -> None:
    one = adapter(seed=0)
    merged, kept = merge_adapters([one], shares=[1.0])
    assert all(torch.equal(merged[name], one[name]) for name in one) and kept == 1.0


def test_adapters_that_do_nothing_yet_can_be_merged() -> None:
    merged, kept = merge_adapters([adapter(seed=0, used=0)] * 2, shares=[0.5, 0.5])
    assert not product(merged).any() and kept == 1.0


def test_only_factors_can_be_merged() -> None:
    with pytest.raises(ValueError, match="neither"):
        merge_adapters([{"layer.weight": torch.zeros(2)}], shares=[1.0])


def products(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: weights[name.replace("lora_A", "lora_B")] @ weights[name]
        for name in weights
        if "lora_A" in name
    }


@pytest.mark.parametrize(
    ("merge", "start"), [("average", "live"), ("average", "base"), ("sum", "base")]
)
def test_what_goes_live_is_the_merge_of_all_experiences(merge: str, start: str) -> None:
    trainer = make_trainer(lora=4)
    lora = LoRAPerExperience(merge=merge, start=start)
    own = []
    for number, name in enumerate("abb"):
        if number in (0, 1):
            lora.begin_experience(name)
        begun = lora.begin(make_update(trainer, number=number))
        trainer.train(begun.fresh, epochs=2, seed=number)
        own.append(trainer.weights())
        metrics = lora.end(begun)
        lora.note_verdict(True)
    share = 0.5 if merge == "average" else 1.0
    expected, kept = merge_adapters([own[0], own[2]], shares=[share, share])
    live = trainer.weights()
    assert all(torch.equal(live[name], expected[name]) for name in live)
    assert metrics == {"model/lora_adapters": 2.0, "model/lora_merge_kept": kept}
    for name, exact in products(own[0]).items():
        whole = share * (exact + products(own[2])[name])
        gap = (products(live)[name] - whole).norm() / whole.norm()
        assert gap < 1.0 and (kept < 0.999 or gap < 0.05)


def test_a_new_experience_starts_at_the_base_or_at_what_is_live() -> None:
    for start in ("base", "live"):
        trainer = make_trainer(lora=4)
        base = trainer.weights()
        lora = LoRAPerExperience(start=start)
        learn(lora, make_update(trainer, number=0), experience="a")
        lora.note_verdict(True)
        live = trainer.weights()
        lora.begin_experience("b")
        lora.begin(make_update(trainer, number=1))
        expected = base if start == "base" else live
        assert all(
            torch.equal(tensor, expected[name]) for name, tensor in trainer.weights().items()
        )


def test_a_refused_update_is_not_in_the_next_merge() -> None:
    trainer = make_trainer(lora=4)
    lora = LoRAPerExperience()
    learn(lora, make_update(trainer, number=0), experience="a")
    lora.note_verdict(True)
    live, kept = trainer.weights(), lora.num_bytes
    learn(lora, make_update(trainer, number=1), experience="b")
    trainer.load_weights(live)
    lora.note_verdict(False)
    assert lora.num_bytes == kept
    lora.begin(make_update(trainer, number=2))
    assert all(torch.equal(tensor, live[name]) for name, tensor in trainer.weights().items())


def test_it_needs_an_adapter() -> None:
    with pytest.raises(ValueError, match=r"world_model\.model\.lora\.rank"):
        LoRAPerExperience().begin(make_update(make_trainer()))


def test_a_sum_of_what_holds_the_past_already_is_refused() -> None:
    with pytest.raises(ValueError, match="sum needs start: base"):
        LoRAPerExperience(merge="sum")
    with pytest.raises(ValueError, match="average or sum, got 'mean'"):
        LoRAPerExperience(merge="mean")
    with pytest.raises(ValueError, match="live or base, got 'zero'"):
        LoRAPerExperience(start="zero")
