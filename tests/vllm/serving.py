"""vLLM's OpenAI-compatible server on loopback, with a tiny random model, and its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from dyna.testing import byte_tokenizer, tiny_model

MAX_CONTEXT = 2048
_START_S = 240.0
_END_S = 30.0
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
}


def save_model(folder: Path) -> None:
    tokenizer = byte_tokenizer()
    # Weights wide enough for answers that differ from prompt to prompt.
    tiny_model(len(tokenizer), max_context=MAX_CONTEXT, initializer_range=0.2).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)


@contextmanager
def served(model: Path, *, name: str) -> Generator[dict[str, Any]]:
    """The `server` params of it. Afterwards none of its processes is left."""
    port = _free_port()
    log = model.parent / "server.log"
    # What `vllm serve` runs; that command alone asks for the name of the official distribution.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", name]
    command += ["--dtype", "float32", "--max-model-len", str(MAX_CONTEXT)]
    command += ["--max-num-seqs", "16", "--enforce-eager"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | _ENVIRONMENT,
            start_new_session=True,
        )
    family: list[psutil.Process] = []
    try:
        _await(process, port=port, log=log)
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        yield {
            "model_name": name,
            "base_url": f"http://127.0.0.1:{port}/v1",
            "api_key_env": "",
            "max_concurrent": 16,
        }
    finally:
        _end(process)
    deadline = time.monotonic() + _END_S
    while left := [member for member in family if _lives(member)]:
        assert time.monotonic() < deadline, f"processes of the server are left: {left}"
        time.sleep(0.1)


def _await(process: subprocess.Popen[bytes], *, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, f"the server died: {log.read_text()[-2000:]}"
        assert time.monotonic() < deadline, f"the server is not up: {log.read_text()[-2000:]}"
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its whole session: the engine's core is a process of its own."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            break
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait(_END_S)


def _lives(process: psutil.Process) -> bool:
    """A zombie that nobody has reaped yet is dead."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
