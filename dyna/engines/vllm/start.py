"""Brings vLLM up in processes of its own, and says what went wrong when it does not come.

vLLM's core and its workers are child processes that inherit the environment, so what they must
know is there before they start. Whatever they log as an error goes to a file, too: the core's own
exception does not reach this process, and the file's last lines are the cause.
"""

# vLLM is an extra, and types pass without it.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Generator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dyna.engines.vllm.checks import ModelShape, plan_cache
from dyna.engines.vllm.loop_thread import LoopThread
from dyna.engines.vllm.settings import Settings
from dyna.engines.vllm.watch import FOLDER, OWNER
from dyna.files import write_json

_DEFAULTS = {
    # Nothing that vLLM opens may be reached from outside this machine.
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # The older model runner: custom logits processors of the newer one have another interface.
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    # Several engines on one machine would all be bound to the same first core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
_LOG = "vllm-errors.log"
_CAUSE_LINES = 3
_starting = threading.Lock()


class EngineStartError(RuntimeError):
    """vLLM did not come up."""


def prepare_environment() -> None:
    """What vLLM reads when it is imported; a variable that is set already stays."""
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def start_vllm(settings: Settings, *, shape: ModelShape, loop: LoopThread, folder: Path) -> Any:
    """An `AsyncLLM` that lives on `loop`. `folder` is removed with its owner.

    Raises `ConfigError` for what can be known beforehand, `EngineStartError` otherwise.
    """
    from vllm.platforms import current_platform

    is_cpu = bool(current_platform.is_cpu())
    cache = plan_cache(settings, shape=shape, is_cpu=is_cpu)
    arguments = settings.to_engine_args(is_cpu=is_cpu, kv_cache_memory_bytes=cache)
    log = folder / _LOG
    with (
        _starting,
        _told_to_children(folder, log=log, compiles=not (is_cpu and arguments.enforce_eager)),
    ):
        before = set(multiprocessing.active_children())
        started = loop.submit(_create(arguments, is_cpu=is_cpu))
        try:
            return started.result(timeout=settings.start_timeout_s)
        except FutureTimeoutError as error:
            started.add_done_callback(_shut_down)
            _kill_new_children(before)
            raise EngineStartError(
                f"vLLM did not start within {settings.start_timeout_s:g} s with model "
                f"{settings.model.path!r}{_cause(log)}; raise start_timeout_s if it only is slow"
            ) from error
        except Exception as error:
            _kill_new_children(before)
            raise EngineStartError(
                f"vLLM did not start with model {settings.model.path!r}: {error}{_cause(log)}"
            ) from error


async def _create(arguments: Any, *, is_cpu: bool) -> Any:
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    config = arguments.create_engine_config(UsageContext.ENGINE_CONTEXT)
    if is_cpu and config.parallel_config.world_size == 1:
        # The CPU build gives its worker a process to bind it to cores, which is not done here:
        # inside the core process it starts sooner and passes no messages.
        config.parallel_config.distributed_executor_backend = "uni"
    return AsyncLLM.from_vllm_config(config, disable_log_stats=True)


@contextmanager
def _told_to_children(folder: Path, *, log: Path, compiles: bool) -> Generator[None]:
    """The environment in which vLLM's processes are started; put back afterwards."""
    settings = folder / "logging.json"
    write_json(settings, value=_logging_settings(log))
    told = {
        OWNER: str(os.getpid()),
        FOLDER: str(folder),
        "VLLM_LOGGING_CONFIG_PATH": str(settings),
    }
    if not compiles:
        # Parts of vLLM's sampler are compiled whatever its own settings say, at the first request.
        told["TORCH_COMPILE_DISABLE"] = "1"
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _logging_settings(log: Path) -> dict[str, Any]:
    """In the words of `logging.config.dictConfig`."""
    level = os.environ["VLLM_LOGGING_LEVEL"]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"format": "%(levelname)s %(asctime)s %(name)s: %(message)s"},
        },
        "handlers": {
            "screen": {"class": "logging.StreamHandler", "level": level, "formatter": "line"},
            "errors": {
                "class": "logging.FileHandler",
                "filename": str(log),
                "level": "ERROR",
                "formatter": "line",
                "delay": True,
            },
        },
        "loggers": {"vllm": {"handlers": ["screen", "errors"], "level": level, "propagate": False}},
    }


def _cause(log: Path) -> str:
    """The exception that vLLM's processes logged, in its last lines."""
    if not log.is_file():
        return ""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    raised = [
        line
        for line in lines
        if "Error" in line and not line.startswith(("File", "ERROR", "raise"))
    ]
    told = raised or lines
    return ": " + " | ".join(dict.fromkeys(told[-_CAUSE_LINES:])) if told else ""


def _shut_down(started: Future[Any]) -> None:
    """End an engine that came up after its time."""
    if started.exception() is None:
        started.result().shutdown()


def _kill_new_children(before: set[Any]) -> None:
    for child in set(multiprocessing.active_children()) - before:
        child.kill()
        child.join()
