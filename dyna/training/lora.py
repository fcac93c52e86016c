"""Low-rank adapters inside a plain transformers model, under the names PEFT saves them by.

`inject_lora` puts `peft`'s layers into the model itself; there is no wrapper around it. Only the
adapter is trained, pushed and saved. It starts as the base model: B is zero, and A follows from the
names of its layers alone, so that every process of a run holds the same one without being told.
An adapter is of its base's type, so that learner and engine compute alike; the precision that its
steps need is the optimizer's business.
"""

# peft and torch leave parts of their signatures untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from dyna.configuring import ConfigError
from dyna.seeding import derive_seed

if TYPE_CHECKING:
    from dyna.config import LoRAConfig

_NAME = "default"
_PREFIX = "base_model.model."
"""Of every name in an adapter's file."""
_WEIGHTS_FILE = "adapter_model.safetensors"


def inject_lora(model: PreTrainedModel, *, config: LoRAConfig) -> None:
    """Give the model's `target_modules` adapters, and freeze everything else.

    Raises `ConfigError` when the model has no layer of one of the names.
    """
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    lacking = sorted(set(config.target_modules) - _linear_names(model))
    if lacking or not config.target_modules:
        raise ConfigError(
            f"model.lora.target_modules names {lacking or 'nothing'}, and the linear layers of "
            f"{type(model).__name__} are {sorted(_linear_names(model))}"
        )
    settings = PeftConfig(
        r=config.rank,
        # A whole number where it is one, as in everybody's adapter files.
        lora_alpha=int(config.alpha) if config.alpha.is_integer() else config.alpha,  # pyright: ignore[reportArgumentType]
        target_modules=list(config.target_modules),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
    inject_adapter_in_model(settings, model, adapter_name=_NAME)
    for name, parameter in adapter_parameters(model).items():
        # Where the base is: a model is moved to its device as a whole.
        parameter.data = _first_value(name, parameter=parameter)
    model.eval()


def has_lora(model: PreTrainedModel) -> bool:
    return bool(adapter_parameters(model))


def adapter_parameters(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """The adapter's own parameters by their names in an adapter file; empty without one.

    Example: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`
    """
    return {
        adapter_name(name): parameter
        for name, parameter in model.named_parameters()
        if f".{_NAME}." in name and ".lora_" in name
    }


def adapter_name(parameter_name: str) -> str:
    """The name in an adapter file of a model's parameter."""
    return _PREFIX + parameter_name.replace(f".{_NAME}.", ".")


def save_adapter(model: PreTrainedModel, *, folder: Path, base_model: str) -> None:
    """Write an adapter folder as `peft` and vLLM load it. `base_model` is the path it belongs to.

    Raises `ValueError` for a model without an adapter, `OSError` when the disk refuses.
    """
    tensors = {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in adapter_parameters(model).items()
    }
    if not tensors:
        raise ValueError(f"{type(model).__name__} has no adapter; set model.lora.rank above 0")
    settings: Any = model.peft_config[_NAME]  # pyright: ignore[reportIndexIssue, reportOptionalSubscript, reportAttributeAccessIssue]
    settings.base_model_name_or_path = base_model
    settings.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    settings.save_pretrained(str(folder))
    try:
        save_file(tensors, folder / _WEIGHTS_FILE, metadata={"format": "pt"})
    except SafetensorError as error:  # what a full disk looks like from there
        raise OSError(f"{str(folder / _WEIGHTS_FILE)!r} cannot be written: {error}") from error


def _linear_names(model: PreTrainedModel) -> set[str]:
    return {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def _first_value(name: str, *, parameter: Tensor) -> Tensor:
    if ".lora_B." in name:
        return torch.zeros_like(parameter)
    # What peft draws for A (Kaiming's uniform with a = sqrt 5), but from a generator of its own.
    bound = 1.0 / math.sqrt(parameter.shape[1])
    source = torch.Generator().manual_seed(derive_seed(0, "lora", name))
    drawn = torch.rand(parameter.shape, generator=source) * (2 * bound) - bound
    return drawn.to(parameter.device, dtype=parameter.dtype)
