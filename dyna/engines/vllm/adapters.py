"""Adapter tensors as the folder that vLLM loads an adapter from."""

# safetensors leaves parts of its signatures untyped.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from dyna.config import LoRAConfig
from dyna.files import write_json


def write_adapter(weights: Mapping[str, Tensor], *, folder: Path, lora: LoRAConfig) -> None:
    """Write `weights`, under the names PEFT saves them by, in PEFT's format."""
    folder.mkdir()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / "adapter_model.safetensors")
    write_json(
        folder / "adapter_config.json",
        value={
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "target_modules": list(lora.target_modules),
            "bias": "none",
            "modules_to_save": None,
        },
    )
