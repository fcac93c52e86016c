"""Starts Ray on this machine, or joins a cluster; the only place that calls `ray.init`.

A local Ray is kept to the loopback interface, and its token to its owner. That is decided when Ray
is first imported, so this module imports it late and sets the environment first.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
from __future__ import annotations

import json
import logging
import math
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any, cast

from dyna.config import EngineConfig, RuntimeConfig

_log = logging.getLogger(__name__)

MIN_OBJECT_STORE_BYTES = 78_643_200
"""Ray refuses to start with less."""
_LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_CLIENT = "ray://"
_PROBE_S = 10.0
"""Seconds within which a machine must answer at all."""


def connect(
    runtime: RuntimeConfig,
    *,
    engine: EngineConfig | None = None,
    num_cpus: int | None = None,
    object_store_bytes: int = 256 * 2**20,
) -> bool:
    """Connect this process to Ray; returns whether it did, False when it already was.

    With `runtime.address` empty a Ray of our own starts on this machine and ends with this
    process. It gets a CPU for each actor that the configuration asks for, even where the machine
    has fewer. Raises `ValueError` for too small an object store, and within a minute
    `ConnectionError` when no cluster answers at the address, or it refuses the token.
    """
    if object_store_bytes < MIN_OBJECT_STORE_BYTES:
        raise ValueError(
            f"object_store_bytes must be >= {MIN_OBJECT_STORE_BYTES}, got {object_store_bytes}"
        )
    is_local = not runtime.address
    if is_local:
        _keep_to_loopback()
        _keep_token_private()
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
        arguments |= {
            "address": "local",  # or a Ray that happens to run on this machine would be joined
            "num_cpus": num_cpus or max(_cpus(runtime, engine=engine), os.cpu_count() or 1),
            "object_store_memory": object_store_bytes,
            "include_dashboard": False,
        }
        # Workers find our packages where this process found them.
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        ray.init(**arguments)
        return True
    for name in environment.keys() & _set_by_job():
        del environment[name]  # Ray refuses a variable that is set twice
    _join(runtime.address, arguments=arguments)
    return True


def _cpus(runtime: RuntimeConfig, *, engine: EngineConfig | None) -> int:
    """Of the driver and all actors; of engine actors with one for each of two models."""
    wanted = 1 + runtime.num_env_runners * runtime.cpus_per_env_runner + runtime.num_learners
    if engine is not None:
        wanted += engine.num_actors * engine.num_cpus * (1 if engine.shared else 2)
    return math.ceil(wanted)


def disconnect() -> None:
    """Leave the cluster; a Ray that `connect` started on this machine ends."""
    import ray

    ray.shutdown()


def _join(address: str, *, arguments: dict[str, Any]) -> None:
    import ray
    from ray.exceptions import AuthenticationError

    _probe(address)
    # One try of forty seconds instead of twenty of them, for what listens and is no Ray.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    try:
        ray.init(address=address, **arguments)
    except (AuthenticationError, ConnectionError, RuntimeError) as error:
        # Ray may have begun something in this process that a second try would stumble over.
        ray.shutdown()
        if "Authentication" in _whole_story(error):
            raise ConnectionError(
                f"the Ray cluster at runtime.address={address!r} refused this machine's token: put "
                "the cluster's own into ~/.ray/auth_token (mode 600) or RAY_AUTH_TOKEN, and set "
                "RAY_AUTH_MODE=token"
            ) from error
        raise ConnectionError(
            f"no Ray cluster answered at runtime.address={address!r} ({_last_line(error)}): start "
            "one with `ray start --head` or `ray up`, or leave the address empty for a Ray of "
            "this machine's own"
        ) from error


def _probe(address: str) -> None:
    """Raise `ConnectionError` where nobody listens; Ray itself would try for a quarter of an hour.

    Only an address with a port can be tried; `auto` is found by Ray, and told by it when it is not.
    """
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_S).close()
    except OSError as error:
        raise ConnectionError(
            f"nobody listens at runtime.address={address!r} ({error}): start a cluster there with "
            "`ray start --head` or `ray up`, and use port 6379 for HOST:PORT and 10001 for ray://"
        ) from error


def _set_by_job() -> set[str]:
    """The environment variables that `ray job submit --runtime-env...` set for this job."""
    job: dict[str, Any] = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    return set(cast(dict[str, str], job.get("runtime_env", {}).get("env_vars", {})))


def _whole_story(error: BaseException) -> str:
    """The error's type and text, and those of what caused it."""
    cause = error.__cause__ or error.__context__
    told = f"{type(error).__name__}: {error}"
    return f"{told}\n{_whole_story(cause)}" if cause else told


def _last_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__


def _keep_token_private() -> None:
    """Ray protects a cluster of this machine's own by a token, which it writes for all to read.

    Whoever has the token may run code as this user: made here first, the file is nobody else's.
    """
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        return
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    path = Path.home() / ".ray" / "auth_token"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path.stat().st_mode & 0o077:
                path.chmod(0o600)
        else:
            with os.fdopen(file, "w", encoding="ascii") as opened:
                opened.write(secrets.token_hex(32))
    except OSError as error:
        raise OSError(
            f"cannot keep Ray's token in {path} ({error}); set RAY_AUTH_TOKEN to one of your own, "
            "or RAY_AUTH_MODE=disabled"
        ) from error
    if "ray" not in sys.modules:
        # Said aloud, it spares the user a warning that it is on.
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _keep_to_loopback() -> None:
    if "ray" in sys.modules and os.environ.get(_LOOPBACK_ONLY) != "0":
        _log.warning(
            "ray was imported before %s=0 was set: its ports may listen on all interfaces; import "
            "dyna.cluster.connection and call connect() first, or set it in the environment",
            _LOOPBACK_ONLY,
        )
    os.environ[_LOOPBACK_ONLY] = "0"
