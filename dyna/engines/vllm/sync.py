"""Full weights into a running engine: by us from a state dict, or by a learner that drives vLLM.

`WeightSync` is what vLLM's own trainer classes ask of an engine (its `VLLMWeightSyncClient`): an
init, then start, update and finish for each push. Start stops generation, finish takes it up again
under the new version; so whoever drives them, no completion mixes two weights.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dyna.engines.vllm.host import EngineDiedError, Host, Voice, Weights
from dyna.engines.vllm.loop_thread import LoopThread


class WeightSync:
    """The four calls, from any thread but the engine's own."""

    def __init__(self, host: Host, *, loop: LoopThread, voice: Voice) -> None:
        self._host = host
        self._loop = loop
        self._voice = voice
        self.next_version: int | None = None
        """Of the push that comes; None counts on."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        self._call("init_weight_transfer_engine", WeightTransferInitRequest(init_info=init_info))

    def start_weight_update(self) -> None:
        self._loop.run(self._host.pause())
        self._call("start_weight_update")

    def update_weights(self, update_info: dict[str, Any] | list[dict[str, Any]]) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        self._call("update_weights", WeightTransferUpdateRequest(update_info=update_info))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self._call("finish_weight_update")
        version = self.next_version if weight_version is None else int(weight_version)
        if version is None:
            version = self._voice.weights.version + 1
        self._voice.weights = Weights(version=version)
        self._loop.run(self._host.resume())

    def give_up(self, reason: str) -> None:
        """After a push that broke off: the workers may hold weights by halves."""
        self._loop.run(self._host.give_up(reason))

    def _call(self, name: str, *arguments: Any) -> None:
        self._loop.run(self._host.run(lambda llm: getattr(llm, name)(*arguments)))


class WeightPusher:
    """Sends state dicts to the engine's workers by one of the transfers."""

    def __init__(self, *, transfer: str, sync: WeightSync, num_workers: int, folder: Path) -> None:
        from dyna.engines.vllm.transfer import TensorSource

        self._transfer = transfer
        self._sync = sync
        self._num_workers = num_workers
        self._folder = folder
        on_cpu = transfer == "shared_memory"
        self._source = TensorSource(device=torch.device("cpu" if on_cpu else "cuda"))
        self._sender: Any = None

    def push(self, weights: Mapping[str, Tensor], *, version: int) -> None:
        """Raises `EngineDiedError` when it breaks off halfway: the engine is of no more use."""
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

        self._source.tensors = weights
        self._sync.next_version = version
        try:
            if self._sender is None:
                self._sender = WeightTransferTrainerFactory.trainer_init(
                    self._init_info(), client=self._sync, source=self._source
                )
            self._sender.send_weights()
        except Exception as error:
            reason = f"the push of weights version {version} broke off: {error}"
            self._sync.give_up(reason)
            raise EngineDiedError(reason) from error
        finally:
            self._source.tensors = {}

    def _init_info(self) -> Any:
        """What both sides of the transfer must agree on, in vLLM's words."""
        if self._transfer == "nccl":
            from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

            # This process is rank 0 of the group, on a GPU that no worker uses.
            return NCCLTrainerInitInfo(
                rank=0,
                master_address="127.0.0.1",
                master_port=_free_port(),
                world_size=self._num_workers + 1,
            )
        if self._transfer == "ipc":
            from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

            return IPCTrainerInitInfo(rank=0, packed=True)
        from dyna.engines.vllm.transfer import SharedMemoryTrainerInit, register

        register()
        return SharedMemoryTrainerInit(rank=0, folder=self._folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
