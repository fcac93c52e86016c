"""The running vLLM: requests in, completions out, and no completion that mixes two weights.

All of it lives on one event loop. A request is submitted under the weights of the moment; when
those change it is aborted and submitted again from its prompt, so that what it answers with was
sampled from one version from the first token to the last.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from dyna.engines.vllm.sampling import to_completion, to_sampling_params, was_aborted
from dyna.protocols import Completion, EngineLostError, GenerationRequest

_T = TypeVar("_T")


class EngineDiedError(EngineLostError):
    """vLLM's processes are gone, or hold weights that were loaded by halves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What a request is answered with."""

    version: int
    lora: Any = None
    """vLLM's `LoRARequest`; None for the base model."""


@dataclass(slots=True, kw_only=True, eq=False)
class Voice:
    """One model that the engine answers for, and its weights of the moment."""

    name: str
    weights: Weights


class Host:
    """Feeds an `AsyncLLM`; every method but the constructor runs on its event loop."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm
        self._numbers = itertools.count(1)
        self._running: dict[str, Voice] = {}
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._all_submitted = asyncio.Event()
        self._all_submitted.set()
        self._num_submitting = 0
        self._changing = asyncio.Lock()
        self._is_paused = False
        self._is_asleep = False
        self._broken: str | None = None

    async def generate(self, request: GenerationRequest, *, voice: Voice, limit: int) -> Completion:
        """Answer one request that was checked; again from its prompt when weights change."""
        params = to_sampling_params(request, limit=limit)
        while True:
            await self._is_open.wait()
            self._check_sound()
            weights = voice.weights
            asking = self._ask(request, voice=voice, lora=weights.lora, params=params)
            output = await self._alive(asking)
            if not was_aborted(output):
                return to_completion(output, request=request, weights_version=weights.version)

    async def pause(self) -> None:
        """Stop generating; what is under way starts again after `resume`. Forgets all prompts."""
        await self._begin_change()
        self._is_paused = True
        await self._close_gate()
        await self._alive(self._llm.pause_generation(mode="abort", clear_cache=True))

    async def resume(self) -> None:
        await self._alive(self._llm.resume_generation())
        self._is_paused = False
        self._end_change()

    async def give_up(self, reason: str) -> None:
        """Answer nobody any more."""
        self._broken = self._broken or reason
        if self._is_paused:
            self._is_paused = False
            self._end_change()
        self._is_open.set()

    async def swap_adapter(self, voice: Voice, *, path: str, version: int) -> None:
        """Load an adapter beside the old one, hand over to it, let the old one go.

        Each version has a name of its own, under which vLLM also keeps its prompts, so that none
        read with old weights is found, and those of the other adapters stay.
        """
        from vllm.lora.request import LoRARequest

        number = next(self._numbers)
        lora = LoRARequest(f"{voice.name}/{version}/{number}", number, path)
        await self._begin_change()
        try:
            await self._alive(self._llm.add_lora(lora))
            await self._close_gate()
            old = voice.weights
            voice.weights = Weights(version=version, lora=lora)
            outdated = [key for key, speaker in self._running.items() if speaker is voice]
            await self._alive(self._llm.abort(outdated))
            if old.lora is not None:
                await self._alive(self._llm.remove_lora(old.lora.lora_int_id))
        finally:
            self._end_change()

    async def sleep(self, *, level: int) -> None:
        await self._begin_change()
        await self._close_gate()
        await self._alive(self._llm.sleep(level=level))
        self._is_asleep = True

    async def wake(self) -> None:
        if self._is_asleep:
            await self._alive(self._llm.wake_up())
            self._is_asleep = False
            self._end_change()

    async def run(self, work: Callable[[Any], Awaitable[_T]]) -> _T:
        """What `work` makes of vLLM's own engine."""
        return await self._alive(work(self._llm))

    async def shut_down(self) -> None:
        await self.give_up("the engine was closed")
        self._llm.shutdown()
        del self._llm

    async def _ask(
        self, request: GenerationRequest, *, voice: Voice, lora: Any, params: Any
    ) -> Any:
        """vLLM's whole answer, or what it had said when it was aborted."""
        from vllm.inputs.engine import tokens_input

        key = str(next(self._numbers))
        self._running[key] = voice
        try:
            self._begin_submitting()
            try:
                queue = await self._llm.add_request(
                    key,
                    tokens_input(list(request.prompt_ids)),
                    params,
                    lora_request=lora,
                )
            finally:
                self._end_submitting()
            return await queue.get()
        except asyncio.CancelledError:
            self._check_sound()  # closed, with this request under way
            await self._llm.abort(key)
            raise
        finally:
            del self._running[key]

    async def _begin_change(self) -> None:
        """Wait for the turn to change weights or memory: one change at a time."""
        self._check_sound()
        if self._is_asleep:
            raise RuntimeError("the engine sleeps; wake it before anything is changed in it")
        await self._changing.acquire()
        self._check_sound()

    def _end_change(self) -> None:
        self._changing.release()
        self._is_open.set()

    async def _close_gate(self) -> None:
        """Let no request in, and wait until those at the door are inside."""
        self._is_open.clear()
        await self._all_submitted.wait()

    def _begin_submitting(self) -> None:
        self._num_submitting += 1
        self._all_submitted.clear()

    def _end_submitting(self) -> None:
        self._num_submitting -= 1
        if not self._num_submitting:
            self._all_submitted.set()

    def _check_sound(self) -> None:
        if self._broken is not None:
            raise EngineDiedError(self._broken)

    async def _alive(self, call: Awaitable[_T]) -> _T:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            return await call
        except EngineDeadError as error:
            reason = "vLLM's process has ended; what it said last is above. Make the engine anew"
            await self.give_up(reason)
            raise EngineDiedError(reason) from error
