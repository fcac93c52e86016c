"""A vLLM engine for a check: a random model in a folder of its own, and its end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from dyna.config import EngineConfig, ModelConfig
from dyna.engines.making import make_engines
from dyna.protocols import Closeable, Engine
from experiments.arithmetic import ModelShape
from experiments.gpu_check.findings import CannotRunError
from experiments.gpu_check.subjects import Bench, save_folder

_ROLE = "policy"


@contextmanager
def vllm_engine(
    shape: ModelShape,
    *,
    bench: Bench,
    max_batch: int,
    max_context: int,
    dtype: str = "bfloat16",
    share: float = 0.6,
) -> Iterator[tuple[Engine, dict[str, Any]]]:
    """The engine, and how it was set up. `share` is of the GPU's memory.

    Raises `CannotRunError` where vLLM is not installed.
    """
    if find_spec("vllm") is None:
        raise CannotRunError('vLLM is not installed: pip install "dyna-agents[vllm]"')
    params: dict[str, Any] = {"transfer": "ipc" if bench.device.type == "cuda" else "shared_memory"}
    if bench.device.type == "cuda":
        params["gpu_memory_utilization"] = share
    with tempfile.TemporaryDirectory() as folder:
        save_folder(shape, bench=bench, folder=Path(folder), dtype=dtype)
        model = ModelConfig(
            path=folder, dtype=dtype, max_context=max_context, device=str(bench.device)
        )
        config = EngineConfig(name="vllm", params=params, max_batch=max_batch)
        engine = make_engines(config, models={_ROLE: model})[_ROLE]
        try:
            yield engine, params
        finally:
            cast(Closeable, engine).close()
