"""One Java process behind a private door on the loopback, that cannot outlive its Python.

Java reads its standard input and leaves when the other end is gone, however this process ends; the
pipe is close-on-exec and a forked child closes its copy at once. The heap is capped, nothing that a
world prints in Java is written anywhere, and only who holds the token may call.
"""

# py4j comes with an extra and carries no types: what crosses its gateway is unknown to the checker.
# pyright: reportMissingImports=false, reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
import os
import select
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, TypeVar

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_START_S = 120.0
"""How long Java may take to open its door, on a machine that does much else."""
_END_S = 2.0
"""How long it may take to leave when asked, before it is killed."""
_OPTIONS = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-XX:-CreateCoredumpOnCrash",
    f"-XX:ErrorFile={os.devnull}",
)
CONSTANT_HASH_CODES = ("-XX:+UnlockExperimentalVMOptions", "-XX:hashCode=2")
"""For worlds that walk through sets ordered by identity hash codes: a constant one makes them keep
the order of insertion, so that every visit of a place reads the same."""


class JavaError(RuntimeError):
    """A world's Java process failed, hung or died; the episode in it is lost."""


class JavaGoneError(JavaError):
    """Java had ended before the call began; what was asked can be asked of another one."""


class Jvm:
    """Runs the jar that lies in an installed package under its name.

    Example: `Jvm("scienceworld", jar="scienceworld.jar", java="java", heap_mb=512, timeout_s=60)`.
    Raises `JavaError` if Java does not start. It runs in the package's own folder, where its code
    may look for data. `timeout_s` bounds every single call. A call that takes longer, or finds
    Java dead, kills what is left of the process and raises `JavaError`.
    """

    def __init__(
        self,
        package: str,
        *,
        jar: str,
        java: str,
        heap_mb: int,
        timeout_s: float,
        options: Sequence[str] = (),
    ) -> None:
        self.lock = threading.RLock()
        """Held during every use: a world may have state that all its interfaces share."""
        self._package = package
        self._timeout_s = timeout_s
        found = _find_jar(package, jar=jar)
        self._process, port = _launch(java, jar=found, heap_mb=heap_mb, options=options)
        try:
            self.gateway: Any = _connect(self._process, port=port, timeout_s=timeout_s)
        except BaseException:
            _end(self._process)
            raise
        _LIVING.add(self)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def classes(self) -> Any:
        """The root of Java's packages."""
        return self.gateway.jvm

    def call(self, function: Callable[[], _T], *, doing: str) -> _T:
        """`function()` under the lock. Raises `JavaError`; after a hang or a death, Java is gone,
        and whoever waited for the lock gets `JavaGoneError`."""
        from py4j.protocol import Py4JError, Py4JJavaError

        with self.lock:
            if not self.alive:
                raise JavaGoneError(f"{self._package}: its Java had ended before {doing}")
            started = time.monotonic()
            try:
                return function()
            except Py4JJavaError as error:
                raise JavaError(f"{self._package} failed while {doing}: {error}") from error
            except (Py4JError, OSError) as error:
                took = time.monotonic() - started
                hung = self.alive and took >= self._timeout_s
                self.kill()
                what = f"gave no answer for {took:.0f} s" if hung else "died"
                raise JavaError(f"{self._package}: its Java {what} while {doing}") from error

    def drop(self, *objects: Any) -> None:
        """Let Java forget objects that were returned to Python; it keeps them otherwise."""
        for an_object in objects:
            self.gateway.detach(an_object)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._let_go()

    def close(self) -> None:
        """End the process and wait for it; twice is fine."""
        _end(self._process)
        self._let_go()

    def _let_go(self) -> None:
        _close_sockets(self.gateway)
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                _close_quietly(stream)

    def forget(self) -> None:
        """In a forked child: close our copies of what ties Java to the parent, touch nothing."""
        self._process.returncode = 0
        self._let_go()


_LIVING: weakref.WeakSet[Jvm] = weakref.WeakSet()


def _forget_all() -> None:
    for jvm in list(_LIVING):
        jvm.forget()
    _LIVING.clear()


os.register_at_fork(after_in_child=_forget_all)


def _find_jar(package: str, *, jar: str) -> Path:
    """Raises `JavaError` if the package has lost its jar."""
    spec = find_spec(package)
    origin = spec.origin if spec else None
    path = Path(origin or "").parent / jar
    if not path.is_file():
        raise JavaError(f"{path} is missing; run: pip install --force-reinstall {package}")
    return path


def _launch(
    java: str, *, jar: Path, heap_mb: int, options: Sequence[str]
) -> tuple[subprocess.Popen[bytes], int]:
    """The process and the port at which it listens."""
    from py4j.java_gateway import find_jar_path

    classes = os.pathsep.join([find_jar_path(), str(jar)])
    command = [java, f"-Xmx{heap_mb}m", *_OPTIONS, *options, "-classpath", classes]
    command += ["py4j.GatewayServer", "--die-on-broken-pipe", "--enable-auth", "0"]
    # What it says on stderr (such as "Picked up JAVA_TOOL_OPTIONS") matters only if it fails.
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            cwd=jar.parent,
            bufsize=0,
            # Ctrl-C is for Python, which ends Java when it is done.
            start_new_session=True,
        )
        try:
            port = _first_line(process)
        except BaseException:
            _end(process)
            raise
        if not port.isdecimal():
            _end(process)
            complaints.seek(0)
            said = f"{port}\n{complaints.read(2000).decode('utf-8', 'replace')}".strip()
            raise JavaError(f"Java did not start (heap_mb={heap_mb}): {said or 'it said nothing'}")
    return process, int(port)


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """Empty if nothing is said in time, or ever."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START_S)
    return _line(process.stdout) if ready else ""


def _connect(process: subprocess.Popen[bytes], *, port: int, timeout_s: float) -> Any:
    from py4j.java_gateway import GatewayParameters, JavaGateway

    assert process.stdout is not None
    token = _line(process.stdout)
    gateway: Any = JavaGateway(
        gateway_parameters=GatewayParameters(
            port=port,
            auth_token=token,
            read_timeout=timeout_s,
            # Its finalizers would call Java from any thread, and from forked children.
            enable_memory_management=False,
        )
    )
    # Nobody reads what the world prints: keep it from filling the pipe.
    java = gateway.jvm.java
    sink = java.io.BufferedOutputStream(java.io.FileOutputStream(os.devnull), 65536)
    silence = java.io.PrintStream(sink, False)
    java.lang.System.setOut(silence)
    java.lang.System.setErr(silence)
    return gateway


def _line(stream: IO[bytes]) -> str:
    """A line read byte by byte: the stream is unbuffered."""
    read = bytearray()
    while (byte := stream.read(1)) not in (b"", b"\n"):
        read += byte
    return read.decode().strip()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        _close_quietly(process.stdin)
    try:
        process.wait(timeout=_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _close_sockets(gateway: Any) -> None:
    """Close the file descriptors alone: `shutdown` would reach the other owner of a forked one."""
    client = gateway._gateway_client
    client.is_connected = False
    while client.deque:
        connection = client.deque.pop()
        for part in (connection.stream, connection.socket):
            if part is not None:
                _close_quietly(part)


def _close_quietly(stream: Any) -> None:
    try:
        stream.close()
    except OSError as error:
        _log.debug("closing %r: %s", stream, error)


__all__ = ["CONSTANT_HASH_CODES", "JavaError", "JavaGoneError", "Jvm"]
