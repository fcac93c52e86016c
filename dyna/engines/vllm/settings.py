"""What a vLLM engine is made with, and the words in which vLLM is told."""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dyna.config import ModelConfig
from dyna.configuring import ConfigError
from dyna.training.models import resolve_model_path

TRANSFERS = ("shared_memory", "nccl", "ipc")
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM has kernels for; an adapter is padded to the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """See `VLLMEngine`."""

    model: ModelConfig
    max_batch: int
    max_context: int
    tensor_parallel: int
    adapters: tuple[str, ...]
    gpu_memory_utilization: float
    kv_cache_memory_bytes: int | None
    enforce_eager: bool | None
    seed: int
    transfer: str
    sleeps: bool
    start_timeout_s: float
    engine_args: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        for name in ("max_batch", "tensor_parallel"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name} must be >= 1, got {value}")
        if self.max_context < 2:
            raise ConfigError(f"max_context must be >= 2, got {self.max_context}")
        if not 0.0 < self.gpu_memory_utilization <= 1.0:
            raise ConfigError(
                f"gpu_memory_utilization must be in (0, 1], got {self.gpu_memory_utilization}"
            )
        if self.transfer not in TRANSFERS:
            raise ConfigError(f"transfer must be one of {TRANSFERS}, got {self.transfer!r}")
        if len(set(self.adapters)) != len(self.adapters):
            raise ConfigError(f"adapters must have different names, got {self.adapters}")
        if self.adapters and not self.model.lora.rank:
            raise ConfigError(
                f"an engine with adapters {self.adapters} needs model.lora.rank above 0"
            )
        if self.model.lora.rank > _RANKS[-1]:
            raise ConfigError(
                f"model.lora.rank must be <= {_RANKS[-1]} for vLLM, got {self.model.lora.rank}"
            )

    def to_engine_args(self, *, is_cpu: bool, kv_cache_memory_bytes: int | None) -> Any:
        """vLLM's `AsyncEngineArgs`; what `engine_args` holds comes last."""
        from vllm.config import WeightTransferConfig
        from vllm.engine.arg_utils import AsyncEngineArgs

        path = resolve_model_path(self.model.path)
        given: dict[str, Any] = {
            "model": path,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",
            "dtype": self.model.dtype,
            "max_model_len": self.max_context,
            "max_num_seqs": self.max_batch,
            "tensor_parallel_size": self.tensor_parallel,
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "kv_cache_memory_bytes": kv_cache_memory_bytes,
            # Compiling for the CPU takes half a minute at every start and gains a tenth.
            "enforce_eager": is_cpu if self.enforce_eager is None else self.enforce_eager,
            "enable_prefix_caching": True,
            "logprobs_mode": "raw_logprobs",
            "seed": self.seed,
            "disable_log_stats": True,
            "enable_sleep_mode": self.sleeps and not is_cpu,
            "logits_processors": ["dyna.engines.vllm.token_picker:TokenPicker"],
            "worker_extension_cls": "dyna.engines.vllm.worker.WorkerExtension",
        }
        if self.model.lora.rank:
            # A new version of an adapter is loaded beside the one that still answers.
            num_adapters = max(len(self.adapters), 1) + 1
            given |= {
                "enable_lora": True,
                "max_lora_rank": next(rank for rank in _RANKS if rank >= self.model.lora.rank),
                "max_loras": num_adapters,
                "max_cpu_loras": num_adapters,
            }
        else:
            given["weight_transfer_config"] = WeightTransferConfig(backend=self.transfer)
        try:
            return AsyncEngineArgs(**(given | dict(self.engine_args)))
        except TypeError as error:
            raise ConfigError(f"engine_args has what vLLM does not take: {error}") from error
