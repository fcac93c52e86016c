"""One small Java process with a capped heap that cannot outlive the process that started it.

Java reads its standard input and leaves when that ends, which it does however this process dies.
Only who holds the token that Java prints may call it.
"""

from __future__ import annotations

import logging
import os
import subprocess
import weakref
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

_log = logging.getLogger(__name__)

_END_S = 2.0
"""How long Java may take to leave when asked, before it is killed."""
_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    f"-XX:ErrorFile={os.devnull}",
)


class JavaError(RuntimeError):
    """The games' Java process failed or died; the episodes in it are lost."""


class Jvm:
    """Example: `jvm = Jvm(java="/usr/bin/java", heap_mb=256, timeout_s=60)`.

    `timeout_s` bounds every call. Raises `JavaError` if Java does not start.
    """

    def __init__(self, *, java: str, heap_mb: int, timeout_s: float) -> None:
        self._pid = os.getpid()
        self._process = _launch(java, heap_mb=heap_mb)
        self._end = weakref.finalize(self, _end, self._process, self._pid)
        try:
            self._gateway = _connect(self._process, timeout_s=timeout_s)
        except BaseException:
            self._end()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """False after its end, and in a forked child, whose parent it belongs to."""
        return os.getpid() == self._pid and self._process.poll() is None

    def new_interface(self) -> Any:
        """Another game machine; several live in one Java side by side."""
        return self._gateway.jvm.textworldexpress.runtime.PythonInterface()

    def drop(self, interface: Any) -> None:
        """Let Java forget a game machine; it would keep it for ever."""
        if self.alive:
            self._gateway.detach(interface)

    def close(self) -> None:
        """End the process and wait for it; twice is fine."""
        if os.getpid() == self._pid and self._end.alive:
            self._gateway.close()
            self._end()


def _py4j() -> Any:
    """Untyped, and part of the extra."""
    return import_module("py4j.java_gateway")


def _package() -> Path:
    spec = find_spec("textworld_express")
    folder = Path(spec.origin if spec and spec.origin else "").parent
    if not (folder / "textworld-express.jar").is_file():
        raise JavaError(
            f"{folder / 'textworld-express.jar'} is missing; run: pip install --force-reinstall "
            "textworld-express"
        )
    return folder


def _launch(java: str, *, heap_mb: int) -> subprocess.Popen[bytes]:
    folder = _package()
    jars = os.pathsep.join([_py4j().find_jar_path(), str(folder / "textworld-express.jar")])
    return subprocess.Popen(
        [
            java,
            f"-Xmx{heap_mb}m",
            *_OPTIONS,
            "-classpath",
            jars,
            "py4j.GatewayServer",
            "--die-on-broken-pipe",
            "--enable-auth",
            "0",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # Nobody reads what the games print; a full pipe would stop them.
        stderr=subprocess.DEVNULL,
        # The games read their lists of things from the current folder.
        cwd=folder,
        bufsize=0,
        start_new_session=True,
    )


def _connect(process: subprocess.Popen[bytes], *, timeout_s: float) -> Any:
    assert process.stdout is not None
    port, token = _line(process.stdout), _line(process.stdout)
    if not port.isdecimal() or not token:
        raise JavaError(
            f"Java did not start: it ended with code {process.poll()} and said {port!r}; check "
            "`java -version` and the parameter heap_mb"
        )
    gateway = _py4j().JavaGateway(
        gateway_parameters=_py4j().GatewayParameters(
            port=int(port),
            auth_token=token,
            read_timeout=timeout_s,
            # Its finalizers would call Java from any thread, and from forked children.
            enable_memory_management=False,
        )
    )
    java = gateway.jvm.java
    silence = java.io.PrintStream(java.io.FileOutputStream(os.devnull), False)
    java.lang.System.setOut(silence)
    return gateway


def _line(stream: IO[bytes]) -> str:
    """A line read byte by byte: the stream is unbuffered."""
    read = bytearray()
    while (byte := stream.read(1)) not in (b"", b"\n"):
        read += byte
    return read.decode("ascii", "replace").strip()


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:
        return
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError as error:
                _log.debug("closing a pipe to Java: %s", error)
    try:
        process.wait(timeout=_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


__all__ = ["JavaError", "Jvm"]
