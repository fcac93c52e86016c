"""The vLLM engine: large models, GPUs, and two models as adapters over one base.

vLLM runs in processes of its own and is fed from a thread of its own, so the engine may be used
from any event loop, from several in turn, and inside an actor.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import atexit
import gc
import itertools
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from dyna.config import ModelConfig
from dyna.engines.jobs import check_request
from dyna.engines.vllm.adapters import write_adapter
from dyna.engines.vllm.checks import check_weights, inspect_model, require_vllm
from dyna.engines.vllm.host import EngineDiedError, Host, Voice, Weights
from dyna.engines.vllm.loop_thread import LoopThread
from dyna.engines.vllm.settings import Settings
from dyna.engines.vllm.start import prepare_environment, start_vllm
from dyna.engines.vllm.sync import WeightPusher, WeightSync
from dyna.protocols import Completion, GenerationRequest

_T = TypeVar("_T")

_RAM_DISK = Path("/dev/shm")


class VLLMEngine:
    """Generates with vLLM, many conversations at once; prompts are kept by their prefixes.

    With `model_config.lora.rank` above 0 it holds the base and takes adapter tensors under the
    names PEFT saves them by; without adapters loaded it answers as the base. With `adapters` it
    answers for several models at once, each through `adapter(name)`; their tokens share a batch.

    Example: `VLLMEngine(model_config=ModelConfig(path="Qwen/Qwen2.5-7B"), max_context=4096)`

    Args:
        model_config: The model; a folder, `base`, or a hub name.
        max_context: Tokens of a conversation, prompt and continuation together.
        max_batch: Conversations decoded together; more wait.
        tensor_parallel: GPUs over which the model is spread.
        adapters: Names of the models that one base answers for; needs a LoRA rank.
        gpu_memory_utilization: Share of a GPU's memory for weights and cache; lower it where a
            learner shares the GPU.
        kv_cache_memory_bytes: Of the cache of keys and values on each device; None takes what
            `gpu_memory_utilization` leaves, on a CPU what `max_batch` conversations need.
        enforce_eager: Do not compile; None compiles on a GPU and does not on a CPU.
        seed: Of vLLM itself; every request has its own.
        transfer: How new weights reach the workers: `shared_memory`, `nccl` or `ipc`.
        sleeps: Keep the GPU's memory such that `sleep` can free it.
        start_timeout_s: Seconds within which vLLM must be up.
        engine_args: More of vLLM's own arguments (`AsyncEngineArgs`), which win over these.

    Raises:
        MissingVLLMError: when vLLM is not installed.
        ConfigError, DamagedFileError: for arguments and models that cannot work.
        EngineStartError: when vLLM does not come up, with its reason.
    """

    def __init__(
        self,
        *,
        model_config: ModelConfig,
        max_context: int,
        max_batch: int = 64,
        tensor_parallel: int = 1,
        adapters: Sequence[str] = (),
        gpu_memory_utilization: float = 0.9,
        kv_cache_memory_bytes: int | None = None,
        enforce_eager: bool | None = None,
        seed: int = 0,
        transfer: str = "shared_memory",
        sleeps: bool = False,
        start_timeout_s: float = 600.0,
        engine_args: Mapping[str, Any] | None = None,
    ) -> None:
        require_vllm()
        prepare_environment()
        self._settings = Settings(
            model=model_config,
            max_batch=max_batch,
            max_context=max_context,
            tensor_parallel=tensor_parallel,
            adapters=tuple(adapters),
            gpu_memory_utilization=gpu_memory_utilization,
            kv_cache_memory_bytes=kv_cache_memory_bytes,
            enforce_eager=enforce_eager,
            seed=seed,
            transfer=transfer,
            sleeps=sleeps,
            start_timeout_s=start_timeout_s,
            engine_args=dict(engine_args or {}),
        )
        self._shape = inspect_model(self._settings)
        self._voice = Voice(name="default", weights=Weights(version=0))
        self._views = {
            name: AdapterView(self, voice=Voice(name=name, weights=Weights(version=0)))
            for name in adapters
        }
        self._pushes = itertools.count(1)
        self._is_closed = False
        self.weights_version = 0
        self._start()

    def _start(self) -> None:
        ram = str(_RAM_DISK) if _RAM_DISK.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="dyna-engine-", dir=ram))
        self._loop = LoopThread(name="vLLM engine")
        try:
            llm = start_vllm(
                self._settings, shape=self._shape, loop=self._loop, folder=self._folder
            )
        except BaseException:
            self._loop.abandon()
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._host = self._loop.run(_make_host(llm))
        self.weight_sync = WeightSync(self._host, loop=self._loop, voice=self._voice)
        self._pusher = WeightPusher(
            transfer=self._settings.transfer,
            sync=self.weight_sync,
            num_workers=self._settings.tensor_parallel,
            folder=self._folder,
        )
        atexit.register(self.close)

    async def generate(self, request: GenerationRequest) -> Completion:
        """Sample one continuation of the prompt.

        Raises:
            ValueError: for a prompt that is empty or leaves no room in `max_context`, and for
                any field of the request that makes no sense.
            EngineDiedError: when vLLM's processes are gone.
        """
        return await self.ask(request, voice=self._voice)

    async def ask(self, request: GenerationRequest, *, voice: Voice) -> Completion:
        self._check_open()
        limit = check_request(
            request, vocab_size=self._shape.vocab_size, max_context=self._settings.max_context
        )
        return await self._loop.share(self._host.generate(request, voice=voice, limit=limit))

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """Take a state dict, or an adapter's tensors; requests under way start again.

        Raises:
            ValueError: for unknown or missing names or wrong shapes; nothing is loaded then.
            EngineDiedError: when the push breaks off.
        """
        if self._views:
            raise ValueError(
                f"this engine answers for {list(self._views)}; load weights by adapter(name)"
            )
        self.push(weights, voice=self._voice, version=version)
        self.weights_version = version

    def push(self, weights: Mapping[str, Any], *, voice: Voice, version: int) -> None:
        self._check_open()
        check_weights(weights, shape=self._shape)
        if not self._settings.model.lora.rank:
            wanted = {name: weights[name] for name in weights if name not in self._shape.tied}
            self._pusher.push(wanted, version=version)
            return
        folder = self._folder / f"{voice.name}-{next(self._pushes)}"
        write_adapter(weights, folder=folder, lora=self._settings.model.lora)
        old = voice.weights.lora
        self._loop.run(self._host.swap_adapter(voice, path=str(folder), version=version))
        if old is not None:
            shutil.rmtree(old.lora_path)

    def run(self, work: Callable[[Any], Awaitable[_T]]) -> _T:
        """What `work` makes of vLLM's own `AsyncLLM`, on its event loop: for what is not here.

        Example: `engine.run(lambda llm: llm.reset_prefix_cache())`
        """
        return self._loop.run(self._host.run(work))

    def adapter(self, name: str) -> AdapterView:
        """The engine of one of the adapters. Raises `KeyError` for a name that it does not have."""
        return self._views[name]

    def sleep(self, *, level: int = 1) -> None:
        """Free the GPU's memory for a learner; requests wait. Nothing happens on a CPU.

        Level 1 keeps the weights in the machine's memory, level 2 drops them: push new ones after
        `wake`.
        """
        self._loop.run(self._host.sleep(level=level))

    def wake(self) -> None:
        """Take the memory again and go on; waiting requests start from their prompts."""
        self._loop.run(self._host.wake())

    def close(self) -> None:
        """End vLLM's processes; whoever waits gets an `EngineDiedError`. Twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        atexit.unregister(self.close)
        self._loop.run(self._host.shut_down())
        self._loop.close()
        # vLLM's own clean-up fails when it comes at the interpreter's end, so it comes now.
        gc.collect()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _check_open(self) -> None:
        if self._is_closed:
            raise EngineDiedError("the engine was closed")


class AdapterView:
    """One of the models of an engine with adapters; satisfies `dyna.protocols.Engine`."""

    def __init__(self, engine: VLLMEngine, *, voice: Voice) -> None:
        self._engine = engine
        self._voice = voice
        self.weights_version = 0

    async def generate(self, request: GenerationRequest) -> Completion:
        """See `VLLMEngine.generate`."""
        return await self._engine.ask(request, voice=self._voice)

    def load_weights(self, weights: Mapping[str, Any], *, version: int) -> None:
        """Take the adapter's tensors; requests of the other adapters are not disturbed."""
        self._engine.push(weights, voice=self._voice, version=version)
        self.weights_version = version

    def sleep(self) -> None:
        """The whole engine's, with all its adapters, like `wake` and `close`."""
        self._engine.sleep()

    def wake(self) -> None:
        self._engine.wake()

    def close(self) -> None:
        self._engine.close()


async def _make_host(llm: Any) -> Host:
    return Host(llm)
