"""Starts that fail say why, in time; whatever happens to the owner, no process is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from transformers import AutoModelForCausalLM

from dyna.config import LoRAConfig, ModelConfig
from dyna.configuring import ConfigError
from dyna.engines.vllm.engine import VLLMEngine
from dyna.engines.vllm.host import EngineDiedError
from dyna.engines.vllm.start import EngineStartError
from dyna.files import DamagedFileError
from dyna.testing import byte_tokenizer, tiny_model
from tests.vllm.asking import ask, prompt, request
from tests.vllm.conftest import save

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).resolve().parents[2]
SOON_S = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("model")
    save(tiny_model(len(byte_tokenizer())), path)
    return path


def make(folder: Path, *, lora: int = 0, **settings: Any) -> VLLMEngine:
    config = ModelConfig(path=str(folder), max_context=256, lora=LoRAConfig(rank=lora))
    given: dict[str, Any] = {"max_context": 256, "max_batch": 4} | settings
    return VLLMEngine(model_config=config, **given)


def engine_processes() -> list[psutil.Process]:
    """This process's children but for Python's own helpers."""
    return [
        child
        for child in psutil.Process().children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and "tracker" not in " ".join(child.cmdline())
    ]


def wait_until(holds: Callable[[], bool], *, timeout_s: float = SOON_S) -> bool:
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"kv_cache_memory_bytes": 1000}, ConfigError, "kv_cache_memory_bytes is 1000"),
        ({"kv_cache_memory_bytes": 10**15}, ConfigError, "free"),
        ({"max_context": 10**6}, ConfigError, "max_context"),
        ({"max_batch": 0}, ConfigError, "max_batch"),
        ({"gpu_memory_utilization": 1.5}, ConfigError, "gpu_memory_utilization"),
        ({"transfer": "pigeon"}, ConfigError, "pigeon"),
        ({"adapters": ("policy",)}, ConfigError, "lora.rank"),
        ({"lora": 1024}, ConfigError, "lora.rank"),
        ({"engine_args": {"max_bath": 3}}, ConfigError, "max_bath"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_starts(
    folder: Path, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    before = set(engine_processes())
    with pytest.raises(error, match=words):
        make(folder, **settings)
    assert set(engine_processes()) == before


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError, match="nowhere"):
        make(tmp_path / "nowhere")


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    save(tiny_model(100), tmp_path)
    with pytest.raises(ConfigError, match="260 tokens and the model embeds 100"):
        make(tmp_path)


def test_heads_that_the_cpu_build_cannot_attend_with_are_refused(tmp_path: Path) -> None:
    settings = tiny_model(260).config
    settings.head_dim = 16
    save(AutoModelForCausalLM.from_config(settings), tmp_path)
    with pytest.raises(ConfigError, match="heads of 32"):
        make(tmp_path)


def test_weights_of_another_shape_than_the_settings_are_refused(tmp_path: Path) -> None:
    save(tiny_model(260), tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    settings["intermediate_size"] = 96
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(DamagedFileError, match="belong to different models"):
        make(tmp_path)


def test_an_engine_that_dies_at_start_says_why_and_leaves_nothing(folder: Path) -> None:
    before = set(engine_processes())
    began = time.monotonic()
    with pytest.raises(EngineStartError, match=r"did not start.*: ValueError: No available memory"):
        make(folder, engine_args={"kv_cache_memory_bytes": 1000})
    assert wait_until(lambda: set(engine_processes()) <= before)
    assert time.monotonic() - began < 2 * SOON_S


def test_an_engine_that_does_not_start_in_time_is_ended(folder: Path) -> None:
    before = set(engine_processes())
    with pytest.raises(EngineStartError, match=r"within 0\.5 s"):
        make(folder, start_timeout_s=0.5)
    assert wait_until(lambda: set(engine_processes()) <= before)


def test_an_engine_whose_process_dies_fails_its_requests_and_closes(folder: Path) -> None:
    before = set(engine_processes())
    engine = make(folder)
    try:
        started = [child for child in engine_processes() if child not in before]

        async def play() -> list[Any]:
            asked = request(prompt(9), max_new_tokens=240, stop_ids=())
            tasks = [asyncio.ensure_future(engine.generate(asked)) for _ in range(8)]
            await asyncio.sleep(0.05)
            for child in started:
                child.kill()
            waiting = asyncio.gather(*tasks, return_exceptions=True)
            return await asyncio.wait_for(waiting, timeout=SOON_S)

        outcomes = asyncio.run(play())
        assert any(isinstance(outcome, EngineDiedError) for outcome in outcomes)
        with pytest.raises(EngineDiedError):
            ask(engine, [request(prompt(9))])
        with pytest.raises(EngineDiedError):
            engine.load_weights(tiny_model(260).state_dict(), version=1)
    finally:
        engine.close()
    assert wait_until(lambda: set(engine_processes()) <= before)
    with pytest.raises(EngineDiedError):
        ask(engine, [request(prompt(9))])


def test_nothing_listens_beyond_loopback_and_nothing_outlives_a_killed_owner(folder: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-m", "tests.vllm.owner", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    try:
        assert any(line.strip() == "ready" for line in owner.stdout)
        process = psutil.Process(owner.pid)
        family = [process, *process.children(recursive=True)]
        listening = [
            connection.laddr.ip
            for member in family
            for connection in member.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listening) <= {"127.0.0.1", "::1"}
        folders = [
            path
            for member in family[1:]
            if (path := member.environ().get("DYNA_ENGINE_FOLDER")) is not None
        ]
        assert folders
        assert os.path.isdir(folders[0])
    finally:
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert wait_until(lambda: not any(member.is_running() for member in family[1:]))
    assert not os.path.exists(folders[0])
