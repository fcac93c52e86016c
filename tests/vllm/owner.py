"""Owns a vLLM engine and waits to be killed: `python -m tests.vllm.owner FOLDER`."""

from __future__ import annotations

import asyncio
import sys
import time

from dyna.config import ModelConfig
from dyna.engines.vllm.engine import VLLMEngine
from tests.vllm.asking import prompt, request


def main() -> None:
    engine = VLLMEngine(model_config=ModelConfig(path=sys.argv[1]), max_context=256, max_batch=4)
    asyncio.run(engine.generate(request(prompt(9))))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    time.sleep(600.0)


if __name__ == "__main__":
    main()
