"""The process that plays a world for another: reads requests from a socket and answers them.

It makes its own world from a name and parameters, and plays one episode after another in one env of
it. A second process, which runs no code of the world and so can never hang, guards it: it ends the
whole group when the one that plays is gone.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn

from dyna.config import PluginConfig
from dyna.envs.wire import Answer, Broken, Close, Made, Make, Request, pack, unpack
from dyna.plugins import build
from dyna.protocols import Closeable, Env, World
from dyna.types import Task


def main(arguments: list[str]) -> None:
    """Serve the socket whose file number is the first argument until its other end closes.

    Standard input is the lifeline: it ends when the process that plays does, however it ends.
    """
    connection = int(arguments[0])
    world = os.fork()
    if world:
        os.close(connection)
        _guard(world)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a world prints must not look like output of ours
    faulthandler.enable()
    _serve(socket.socket(fileno=connection))


def _guard(world: int) -> NoReturn:
    """Wait for the world's end and end in the same way; never outlive the one that plays."""
    _prefer_for_out_of_memory_kill(world)

    def hold_lifeline() -> None:
        while os.read(0, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=hold_lifeline, daemon=True).start()
    _, status = os.waitpid(world, 0)
    if os.WIFSIGNALED(status):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signum = os.WTERMSIG(status)
        if signum != signal.SIGKILL:
            signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _serve(parent: socket.socket) -> None:
    player = _Player()
    with asyncio.Runner() as runner, parent.makefile("rb") as requests:
        for line in requests:
            parent.sendall(runner.run(player.answer(unpack(line))))
    os.killpg(0, signal.SIGKILL)  # whoever asked is gone: end all that the world started, too


class _Player:
    """One world, and one env of it that plays episode after episode."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._env: Env | None = None

    async def answer(self, request: Request) -> bytes:
        try:
            return pack(await self._do(request))
        except Exception as error:
            return pack(Broken(error=f"{type(error).__name__}: {error}"))

    async def _do(self, request: Request) -> Answer:
        if isinstance(request, Make):
            config = PluginConfig(name=request.name, params=dict(request.params))
            self._world = build("environments", config)
            return Made(process_id=os.getpid())
        if self._world is None:
            raise RuntimeError("the first request must be Make")
        if isinstance(request, Close):
            await self._close(self._world)
            return request
        if self._env is None:
            self._env = self._world.make()
        if isinstance(request, Task):
            return await self._env.reset(request)
        return await self._env.step(request)

    async def _close(self, world: World) -> None:
        if self._env is not None:
            await self._env.close()
        if isinstance(world, Closeable):
            world.close()


def _prefer_for_out_of_memory_kill(process: int) -> None:
    """A machine out of memory must take this process, not the one that learns."""
    score = Path(f"/proc/{process}/oom_score_adj")
    if score.exists():
        score.write_text("1000")


if __name__ == "__main__":
    main(sys.argv[1:])
