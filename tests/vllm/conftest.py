"""Three running engines that all tests share: each takes a while to start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from dyna.config import LoRAConfig, ModelConfig
from dyna.engines.vllm.engine import VLLMEngine
from dyna.testing import byte_tokenizer, tiny_model

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
# Read when Ray is imported; see tests/cluster/conftest.py.
os.environ |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_worker_niceness": "0"}

MAX_CONTEXT = 512
RANGE = 0.2
"""Of the random weights: wide enough for answers that differ from prompt to prompt."""


@dataclass(kw_only=True)
class Served:
    """A running engine and the model it was made from."""

    engine: VLLMEngine
    model: PreTrainedModel
    config: ModelConfig

    def fresh(self, seed: int) -> PreTrainedModel:
        """A model of the same shape with other weights."""
        return random_like(self.model, seed=seed)


def random_like(model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Any = AutoModelForCausalLM.from_config(model.config, dtype=model.dtype)
    return made.eval()


def save(model: PreTrainedModel, folder: Path) -> ModelConfig:
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    name = "bfloat16" if model.dtype == torch.bfloat16 else "float32"
    return ModelConfig(path=str(folder), dtype=name, max_context=MAX_CONTEXT)


def serve(model: PreTrainedModel, folder: Path, *, lora: int = 0, **settings: Any) -> Served:
    config = replace(save(model, folder), lora=LoRAConfig(rank=lora, alpha=2.0 * lora))
    engine = VLLMEngine(model_config=config, max_context=MAX_CONTEXT, max_batch=16, **settings)
    return Served(engine=engine, model=model, config=config)


@pytest.fixture(scope="session")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """float32, with the output layer tied to the embeddings."""
    model = tiny_model(len(byte_tokenizer()), initializer_range=RANGE)
    served = serve(model, tmp_path_factory.mktemp("tied"))
    yield served
    served.engine.close()


@pytest.fixture(scope="session")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """bfloat16, with an output layer of its own."""
    model = tiny_model(len(byte_tokenizer()), initializer_range=RANGE)
    model.config.tie_word_embeddings = False
    served = serve(random_like(model.bfloat16(), seed=1), tmp_path_factory.mktemp("untied"))
    yield served
    served.engine.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One base with two adapters."""
    model = tiny_model(len(byte_tokenizer()), initializer_range=RANGE)
    served = serve(
        model,
        tmp_path_factory.mktemp("shared"),
        lora=4,
        adapters=("policy", "world_model"),
    )
    yield served
    served.engine.close()
