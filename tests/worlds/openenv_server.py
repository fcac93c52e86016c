"""Starts servers in processes of their own, for tests to play against."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dyna.envs.openenv import OpenEnvWorld

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
"""How long a server may take to start."""


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def world_at(url: str, **params: object) -> OpenEnvWorld:
    """The world of a server that may still be starting."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            return OpenEnvWorld(url=url, **params)  # type: ignore[arg-type]
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def url_of(started: subprocess.Popen[str]) -> str:
    """Where `dyna serve` says that it serves."""
    assert started.stdout is not None
    for line in started.stdout:
        if " at http" in line:
            return line.split(" at ")[1].strip()
    raise AssertionError(f"the server ended: {started.communicate()[1]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
