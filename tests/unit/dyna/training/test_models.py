"""Models load whole or not at all, with an error that says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2ForCausalLM

from dyna.config import ModelConfig
from dyna.training.models import load_model, load_tokenizer, resolve_model_path, tiny_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = tiny_config(31, hidden_size=48, num_layers=1, num_heads=2, intermediate_size=64)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def config_of(folder: Path, *, dtype: str = "float32", max_context: int = 64) -> ModelConfig:
    return ModelConfig(path=str(folder), dtype=dtype, max_context=max_context)


def test_a_saved_model_loads_with_its_dtype(folder: Path) -> None:
    model = load_model(config_of(folder, dtype="bfloat16"))
    assert model.dtype == torch.bfloat16
    assert not model.training
    assert load_model(config_of(folder)).dtype == torch.float32


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.*does not exist; give `base`"):
        load_model(config_of(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="does not exist"):
        load_tokenizer(config_of(tmp_path / "nowhere"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ValueError, match=rf"lacks {name}"):
        load_model(config_of(folder))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_half_written_file_is_named(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=rf"{name}.*half written"):
        load_model(config_of(folder))


def test_weights_left_out_are_not_made_up(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks fitting weights for \['model.norm.weight'\]"):
        load_model(config_of(folder))


def test_a_missing_shard_is_named(folder: Path) -> None:
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="lacks model-00001-of-00002"):
        load_model(config_of(folder))


def test_pickled_weights_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
        load_model(config_of(folder))


def test_an_unknown_dtype_or_too_long_a_context_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.dtype must be one of"):
        load_model(config_of(folder, dtype="float8"))
    with pytest.raises(ValueError, match=r"model\.max_context must be <= 1024"):
        load_model(config_of(folder, max_context=4096))


def test_a_folder_without_tokenizer_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"lacks tokenizer\.json"):
        load_tokenizer(config_of(folder))


def test_base_is_the_folder_in_the_package() -> None:
    path = Path(resolve_model_path("base"))
    assert path.parts[-3:] == ("dyna", "data", "base_model")
    assert resolve_model_path("owner/name") == "owner/name"
