"""Starts Ray on this machine, or joins a cluster; the only place that calls `ray.init`.

A local Ray is kept to the loopback interface. That is decided when Ray is first imported, so this
module imports it late and sets the environment first.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import logging
import os
import sys
from typing import Any

from dyna.config import RuntimeConfig

_log = logging.getLogger(__name__)

MIN_OBJECT_STORE_BYTES = 78_643_200
"""Ray refuses to start with less."""
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def connect(
    runtime: RuntimeConfig,
    *,
    num_cpus: int | None = None,
    object_store_bytes: int = 256 * 2**20,
) -> bool:
    """Connect this process to Ray; returns whether it did, False when it already was.

    With `runtime.address` empty a Ray of our own starts on this machine and ends with this
    process. It gets a CPU for each actor that the configuration asks for, even where the machine
    has fewer. Raises `ValueError` for too small an object store, and `ConnectionError` when no
    cluster answers at the address.
    """
    if object_store_bytes < MIN_OBJECT_STORE_BYTES:
        raise ValueError(
            f"object_store_bytes must be >= {MIN_OBJECT_STORE_BYTES}, got {object_store_bytes}"
        )
    is_local = not runtime.address
    if is_local:
        _keep_to_loopback()
    import ray

    if ray.is_initialized():
        return False
    environment = {"OMP_NUM_THREADS": str(runtime.threads)}
    arguments: dict[str, Any] = {
        "log_to_driver": False,
        "runtime_env": {
            "env_vars": environment,
            "worker_process_setup_hook": "dyna.siblings.check_siblings",
        },
    }
    if is_local:
        wanted = 1 + runtime.num_env_runners + runtime.num_learners
        arguments |= {
            "num_cpus": num_cpus or max(wanted, os.cpu_count() or 1),
            "object_store_memory": object_store_bytes,
            "include_dashboard": False,
        }
        # Workers find our packages where this process found them.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    else:
        arguments["address"] = runtime.address
    ray.init(**arguments)
    return True


def disconnect() -> None:
    """Leave the cluster; a Ray that `connect` started on this machine ends."""
    import ray

    ray.shutdown()


def _keep_to_loopback() -> None:
    if "ray" in sys.modules and os.environ.get(_LOOPBACK_ONLY) != "0":
        _log.warning(
            "ray was imported before %s=0 was set: its ports may listen on all interfaces; import "
            "dyna.cluster.connection and call connect() first, or set it in the environment",
            _LOOPBACK_ONLY,
        )
    os.environ[_LOOPBACK_ONLY] = "0"
