"""Plays a world in processes of its own, so that one that crashes, hangs or leaks harms nobody.

A pool keeps started processes and lends each to one episode at a time. Whatever goes wrong in one
(a signal, an exception, a cancelled call, too much memory) ends that episode as a failure that says
what happened; the process is killed with all that it started, and the next episode gets a new one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from dyna.config import WorkerConfig
from dyna.envs.wire import Broken, Close, Made, Make, Request, pack, unpack
from dyna.protocols import Env
from dyna.types import Action, Outcome, Start, Task

_log = logging.getLogger(__name__)

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
    "from dyna.envs.worker import main; main(sys.argv[1:])"
)
"""Python's own path travels along, so that a world that is importable here is importable there."""
_MEMORY_CHECK_S = 0.05
_CLOSE_S = 2.0
"""How long a process that is told to close may take before it is killed."""
_LAST_WORDS = 2000
"""Bytes of a dead process's error stream that its error tells."""
_PART_BYTES = 2**20
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class WorkerError(RuntimeError):
    """A world's process died, took too much memory, or its world raised an exception."""


class Worker:
    """One process with a world in it. `ask` is the only way to talk to it."""

    def __init__(self, name: str, *, params: Mapping[str, Any], max_memory_mb: int) -> None:
        self.num_episodes = 0
        self._world = name
        self._max_bytes = max_memory_mb * 2**20
        self._first: Make | None = Make(name=name, params=params)
        self._said = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `kill`
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._statm: Path | None = None
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.PIPE,  # the lifeline; nothing is ever written
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,
            )

    async def ask(self, request: Request) -> object:
        """The answer. Raises `WorkerError`; any failure, cancellation too, kills the process."""
        try:
            if self._first is not None:
                first, self._first = self._first, None
                made = cast(Made, await self._exchange(first))
                self._statm = Path(f"/proc/{made.process_id}/statm")
            return await self._exchange(request)
        except BaseException:
            self.kill()
            raise

    def begin_episode(self) -> None:
        self.num_episodes += 1
        # What earlier episodes printed must not fill the disk. The process shares our position.
        self._said.seek(0)
        self._said.truncate()

    def kill(self) -> None:
        """End the process and all that it started; calling it again does nothing."""
        if self._process.returncode is None:
            # Not yet reaped, so the number is still the group's own, even if its leader is dead.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._socket.close()
        self._said.close()

    def close(self) -> None:
        """Let the world close what it holds, then end the process."""
        try:
            self._socket.setblocking(True)
            self._socket.settimeout(_CLOSE_S)
            self._socket.sendall(pack(Close()))
            self._socket.recv(1)
        except OSError as error:
            _log.info("a process of the world %s did not close: %s", self._world, error)
        finally:
            self.kill()

    async def _exchange(self, request: Request) -> object:
        loop = asyncio.get_running_loop()
        watch = loop.create_task(self._watch_memory())
        answer = loop.create_task(self._send_and_receive(request))
        try:
            await asyncio.wait({watch, answer}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                watch.result()
            received = answer.result()
        finally:
            watch.cancel()
            answer.cancel()
        if isinstance(received, Broken):
            raise WorkerError(received.error)
        return received

    async def _send_and_receive(self, request: Request) -> object:
        loop = asyncio.get_running_loop()
        received = bytearray()
        try:
            await loop.sock_sendall(self._socket, pack(request))
            while not received.endswith(b"\n"):
                part = await loop.sock_recv(self._socket, _PART_BYTES)
                if not part:
                    raise EOFError("the process closed its end")
                received += part
        except (OSError, EOFError) as error:
            raise WorkerError(await asyncio.to_thread(self._obituary)) from error
        return unpack(bytes(received))

    async def _watch_memory(self) -> None:
        """Raise `WorkerError` as soon as the process holds more memory than it may."""
        while (resident := self._resident_bytes()) is not None:
            if resident > self._max_bytes:
                raise WorkerError(
                    f"the process of the world {self._world} holds {resident / 2**20:.0f} MiB, "
                    f"world.workers.max_memory_mb={self._max_bytes // 2**20} allows no more"
                )
            await asyncio.sleep(_MEMORY_CHECK_S)
        await asyncio.Event().wait()

    def _resident_bytes(self) -> int | None:
        """None where there is nothing to measure: no `/proc`, or the process is gone."""
        if self._statm is None or not self._statm.exists():
            return None
        fields = self._statm.read_text().split()
        return int(fields[1]) * _PAGE_BYTES if fields else 0

    def _obituary(self) -> str:
        # Not reaped here: while it is a zombie, its group's number can be nobody else's.
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        died = ended is not None and ended.si_code != os.CLD_EXITED
        code = ended.si_status if ended is not None else 0
        cause = signal.Signals(code).name if died else f"exit status {code}"
        size = os.fstat(self._said.fileno()).st_size
        said = os.pread(self._said.fileno(), _LAST_WORDS, max(0, size - _LAST_WORDS))
        words = said.decode("utf-8", "replace").strip()
        tail = f"; its last words: {words}" if words else ""
        return f"the process of the world {self._world} died of {cause}{tail}"


class ProcessEnv:
    """An `Env` played in one of a pool's processes, which it holds from reset to close."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._worker: Worker | None = None

    async def reset(self, task: Task) -> Start:
        if self._worker is None:
            self._worker = self._pool.borrow()
        self._worker.begin_episode()
        return cast(Start, await self._ask(task))

    async def step(self, action: Action) -> Outcome:
        return cast(Outcome, await self._ask(action))

    async def close(self) -> None:
        """Give the process back, for the next episode."""
        if self._worker is not None:
            self._pool.give_back(self._worker)
            self._worker = None

    async def _ask(self, request: Task | Action) -> object:
        if self._worker is None:
            raise RuntimeError("this episode never began, or its world died; call reset first")
        try:
            return await self._worker.ask(request)
        except BaseException:
            self._worker = None  # `ask` has killed it
            raise


class WorkerPool:
    """Processes of one world, started when they are needed and used again.

    `config.num` bounds how many are kept, not how many may be borrowed: who plays (see
    `EnvSource.max_envs`) holds to it. The processes end with `close`, or with this process.
    """

    def __init__(self, name: str, *, params: Mapping[str, Any], config: WorkerConfig) -> None:
        self._name = name
        self._params = dict(params)
        self._config = config
        self._idle: list[Worker] = []
        self._lock = threading.Lock()
        self._end = weakref.finalize(self, _close_all, self._idle)

    def make(self) -> Env:
        return ProcessEnv(self)

    def borrow(self) -> Worker:
        """An idle process, or a new one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Worker(self._name, params=self._params, max_memory_mb=self._config.max_memory_mb)

    def give_back(self, worker: Worker) -> None:
        with self._lock:
            used_up = worker.num_episodes >= self._config.max_episodes
            if self._end.alive and not used_up and len(self._idle) < self._config.num:
                self._idle.append(worker)
                return
        worker.close()

    def close(self) -> None:
        """End the idle processes; those still borrowed end when they are given back."""
        self._end()


def _close_all(workers: list[Worker]) -> None:
    while workers:
        workers.pop().close()


__all__ = ["ProcessEnv", "Worker", "WorkerError", "WorkerPool"]
