"""Ends vLLM's processes when the process that made the engine is gone, however it went.

vLLM's core process waits for its owner's messages for ever; an owner that was killed outright sends
none. So each worker watches the owner and, when it ends, ends the core process and itself.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import threading
from contextlib import suppress

OWNER = "DYNA_ENGINE_OWNER"
"""Environment variable with the engine owner's process id, which vLLM's processes inherit."""
FOLDER = "DYNA_ENGINE_FOLDER"
"""Environment variable with the folder in shared memory that is the engine's, and goes with it."""


def end_with_owner() -> None:
    """Watch the owner from a thread of this process; returns at once."""
    owner = int(os.environ[OWNER])
    if owner == os.getpid():
        return
    parent = os.getppid()
    try:
        handle = os.pidfd_open(owner)
    except ProcessLookupError:
        _end(parent, owner=owner)
        return
    watcher = threading.Thread(
        target=_wait_and_end,
        args=(handle,),
        kwargs={"parent": parent, "owner": owner},
        name="watch of the engine's owner",
        daemon=True,
    )
    watcher.start()


def _wait_and_end(handle: int, *, parent: int, owner: int) -> None:
    poller = select.poll()
    poller.register(handle, select.POLLIN)
    poller.poll()
    _end(parent, owner=owner)


def _end(parent: int, *, owner: int) -> None:
    shutil.rmtree(os.environ[FOLDER], ignore_errors=True)
    # A worker inside the core process has the owner for a parent, and it is gone.
    if parent not in (owner, 1):
        with suppress(ProcessLookupError):
            os.kill(parent, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
