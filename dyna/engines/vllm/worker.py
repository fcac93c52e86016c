"""What our side adds to each of vLLM's workers; vLLM imports this before it builds anything."""

from __future__ import annotations

from dyna.engines.vllm.transfer import register
from dyna.engines.vllm.watch import end_with_owner


class WorkerExtension:
    """Named in vLLM's `worker_extension_cls`, so that this module is loaded where workers are."""


register()
end_with_owner()
