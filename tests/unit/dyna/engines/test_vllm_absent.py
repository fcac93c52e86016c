"""Where vLLM is not installed, the engine says so and names the command."""

from __future__ import annotations

import importlib.util

import pytest

from dyna.config import EngineConfig, ModelConfig
from dyna.engines.making import make_engines
from dyna.engines.vllm.checks import MissingVLLMError


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed")
def test_a_missing_vllm_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(MissingVLLMError, match=r'pip install "dyna-agents\[vllm\]"'):
        make_engines(EngineConfig(name="vllm"), models={"policy": ModelConfig()})
