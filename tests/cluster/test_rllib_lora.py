"""A whole run in which policy and world model are adapters over frozen bases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dyna.config import LoRAConfig
from dyna.rllib import Dyna, DynaConfig
from dyna.training.models import load_model
from tests.cluster.tiny_build import tiny_config

pytestmark = pytest.mark.ray


def test_adapters_are_trained_pushed_and_saved_alone(
    local_ray: str, model_folder: str, tmp_path: Path
) -> None:
    config = tiny_config(model_folder)
    model = replace(config.policy.model, lora=LoRAConfig(rank=2, alpha=4.0))
    config = replace(
        config,
        policy=replace(config.policy, model=model),
        world_model=replace(config.world_model, model=model),
    )
    algorithm = Dyna(DynaConfig().dyna(run_config=config, build="tests.cluster.tiny_build"))
    algorithm.train()
    algorithm.train()
    base = dict(load_model(replace(model, lora=LoRAConfig())).named_parameters())
    stores: Any = algorithm.crew.player.stores
    for role, published in algorithm.run.published.items():
        live = published()
        assert live.version > 0 and all(".lora_" in name for name in live.tensors)
        assert any(".lora_B." in name and tensor.any() for name, tensor in live.tensors.items())
        assert stores[role].weights_version == live.version
        held = dict(stores[role]._model.named_parameters())
        for name, tensor in base.items():
            stem, _, last = name.rpartition(".")
            frozen = held.get(f"{stem}.base_layer.{last}", held.get(name))
            assert frozen is not None and torch.equal(frozen, tensor), name
    folder = Path(algorithm.save_to_path(tmp_path / "saved"))
    sizes = [path.stat().st_size for path in folder.rglob("weights.safetensors")]
    whole = sum(tensor.nbytes for tensor in base.values())
    assert len(sizes) == 2 and max(sizes) < whole / 4
    expected = {role: published() for role, published in algorithm.run.published.items()}
    algorithm.train()
    algorithm.restore_from_path(folder)
    for role, published in algorithm.run.published.items():
        for name, tensor in published().tensors.items():
            assert torch.equal(tensor, expected[role].tensors[name])
    algorithm.stop()
