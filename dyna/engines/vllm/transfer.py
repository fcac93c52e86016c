"""New weights for a running engine: vLLM's own transfer calls, by whatever carries the bytes.

vLLM moves weights in four calls (init, start, update, finish) that its NCCL and CUDA IPC backends
implement. `shared_memory` adds the plain one, for any device: the owner writes a safetensors file
into shared memory, the workers map it and load it. It exists on both sides of vLLM's registry, so
that the engine makes the same calls whichever backend carries them.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportUntypedFunctionDecorator=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from vllm.distributed.weight_transfer.base import (
    ParamMeta,
    TrainerInitInfo,
    TrainerWeightTransferEngine,
    WeightSource,
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import (
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)

SHARED_MEMORY = "shared_memory"


class TensorSource(WeightSource):
    """Tensors by name, moved to a device one at a time as they are sent."""

    def __init__(self, *, device: torch.device) -> None:
        self.tensors: Mapping[str, torch.Tensor] = {}
        self._device = device

    def metadata(self) -> list[Any]:
        return [
            ParamMeta(name, tensor.dtype, tuple(tensor.shape))
            for name, tensor in self.tensors.items()
        ]

    def __iter__(self) -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in self.tensors.items():
            yield name, tensor.detach().to(self._device).contiguous()


@dataclass
class SharedMemoryInit(WeightTransferInitInfo):
    """Nothing to agree on beforehand."""


@dataclass
class SharedMemoryUpdate(WeightTransferUpdateInfo):
    path: str = ""
    """Safetensors file with all tensors."""


class SharedMemoryReceiver(WeightTransferEngine):
    """In a worker: loads the file into the model as if it were a checkpoint."""

    init_info_cls = SharedMemoryInit
    update_info_cls = SharedMemoryUpdate

    def init_transfer_engine(self, init_info: SharedMemoryInit) -> None:
        return

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        # vLLM's own version also synchronizes an accelerator, of which there may be none.
        self.receive_weights(self.parse_update_info(update_info))
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: SharedMemoryUpdate) -> None:
        self.model.load_weights(iter(load_file(update_info.path).items()))

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)
        if self.device.type == "cpu" and self.model.config.tie_word_embeddings:
            # The CPU build packs a copy of the output layer when it loads a model; a tied one is
            # not packed again with the embeddings it is tied to, and would answer from old weights.
            self.model.lm_head.quant_method.process_weights_after_loading(self.model.lm_head)

    def shutdown(self) -> None:
        return


@dataclass
class SharedMemoryTrainerInit(TrainerInitInfo):
    backend: ClassVar[str] = SHARED_MEMORY
    folder: Path
    """In shared memory."""


class SharedMemorySender(TrainerWeightTransferEngine):
    """In the owner's process: writes the file, then has the workers load it."""

    init_info_cls = SharedMemoryTrainerInit

    @classmethod
    def trainer_init(
        cls, init_info: SharedMemoryTrainerInit, *, client: Any, source: Any = None
    ) -> SharedMemorySender:
        client.init_weight_transfer_engine({})
        return cls(client=client, source=source, folder=init_info.folder)

    def __init__(self, *, client: Any, source: WeightSource, folder: Path) -> None:
        super().__init__(client=client, source=source)
        self._path = folder / "weights.safetensors"

    def send_weights(self) -> None:
        # Before the workers stop: whoever generates goes on while the bytes are copied.
        save_file(dict(self.source), self._path)
        try:
            self.client.start_weight_update()
            self.client.update_weights({"path": str(self._path)})
            self.client.finish_weight_update()
        finally:
            self._path.unlink()


def register() -> None:
    """Make `shared_memory` known to vLLM in this process, on both sides; twice is fine."""
    here = __name__
    if SHARED_MEMORY not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(SHARED_MEMORY, here, "SharedMemoryReceiver")
        WeightTransferTrainerFactory.register_engine(SHARED_MEMORY, here, "SharedMemorySender")
