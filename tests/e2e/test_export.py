"""What a run has trained, taken out of it: other programs load it, and it is what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from dyna import checkpoint
from dyna.config import ModelConfig
from dyna.training.models import load_model, load_tokenizer
from experiments.cli import main
from tests.e2e.tiny_run import play, settings, tiny

IDS = torch.tensor([[5, 6, 7, 8]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


def test_a_whole_model_is_loaded_as_any_other(model: Path, tmp_path: Path) -> None:
    run, target = tmp_path / "run", tmp_path / "policy"
    play(tiny(model, "rounds=1"), folder=run)
    assert main(["export", str(run), str(target), "--model", "policy"]) == 0
    newest = checkpoint.latest(run)
    assert newest is not None
    trained = load_file(newest / "policy" / "trainer" / "weights.safetensors")
    exported = load_model(ModelConfig(path=str(target)))
    for name, parameter in exported.named_parameters():
        assert torch.equal(parameter, trained[name])
    before = load_model(ModelConfig(path=str(model)))
    assert not torch.equal(logits(exported), logits(before))
    text = "You are in the middle of a room."
    assert load_tokenizer(ModelConfig(path=str(target))).encode(text) == load_tokenizer(
        ModelConfig(path=str(model))
    ).encode(text)


def test_an_adapter_is_loaded_by_peft_on_its_base(model: Path, tmp_path: Path) -> None:
    run, target = tmp_path / "run", tmp_path / "adapter"
    play(tiny(model, "rounds=1", "world_model.model.lora.rank=4"), folder=run)
    assert main(["export", str(run), str(target), "--model", "world_model"]) == 0
    base = AutoModelForCausalLM.from_pretrained(model)
    plain = logits(base)
    adapted = PeftModel.from_pretrained(base, target)
    assert adapted.peft_config["default"].base_model_name_or_path == str(model)
    assert not torch.allclose(logits(adapted), plain)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "out", "--model", "policy"], "nothing at nowhere"),
        (["empty", "out", "--model", "policy"], "no config.yaml"),
        (["begun", "out", "--model", "policy"], "no whole checkpoint"),
        (["begun", "full", "--model", "policy"], "not empty"),
    ],
)
def test_what_cannot_be_exported_is_told(
    arguments: list[str],
    words: str,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "begun", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "something").touch()
    assert main(["config", *settings(model)]) == 0
    (tmp_path / "begun" / "config.yaml").write_text(capsys.readouterr().out)
    assert main(["export", *arguments]) != 0
    assert words in capsys.readouterr().err.replace("\n", " ")
