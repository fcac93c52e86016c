"""Engines that are slow, die or refuse at the right moment for a test; else the real ones."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from dyna.engines.transformers import TransformersEngine
from dyna.protocols import Completion, GenerationRequest


class SlowEngine(TransformersEngine):
    """Takes `seconds` before it begins with a request."""

    def __init__(self, model: Any, *, max_batch: int, max_context: int, seconds: float) -> None:
        super().__init__(model, max_batch=max_batch, max_context=max_context)
        self._seconds = seconds

    async def generate(self, request: GenerationRequest) -> Completion:
        await asyncio.sleep(self._seconds)
        return await super().generate(request)


class DyingEngine:
    """Takes its process with it as soon as it is made."""

    def __init__(self, model: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
