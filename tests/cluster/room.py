"""A room of its own on this machine, for tests that start real clusters.

A room has its own processes, network, home and Ray folder, by Linux namespaces. Nothing in it can
be reached from outside or reaches out, `ray stop` and `ray down` find no Ray but its own, and all
of it ends with the test, even one that is killed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_SET_UP = """
set -e
ip link set lo up
mount --bind "$ROOM/passwd" /etc/passwd
mkdir -p /tmp/ray /run/sshd
mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs tmpfs /dev/shm
chmod 1777 /dev/shm
touch "$ROOM/ready"
read -r _ || true
"""
"""The room's first process. It ends when the test does, and takes all others along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    said: str
    """What it wrote, errors included."""


@dataclass(slots=True, kw_only=True)
class Room:
    folder: Path
    pid: int
    """Of its first process, as seen from outside."""
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def run(
        self,
        *command: str | Path,
        seconds: float = 120,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Done:
        """Run a command in the room to its end; one that takes longer is killed, with code 137."""
        limited = ["timeout", "-s", "KILL", str(seconds), *map(str, command)]
        place = ["env", "-C", str(cwd or self.home)]
        with tempfile.TemporaryFile() as output:  # daemons may keep it open, unlike a pipe
            code = subprocess.run(
                [*self._door(), *place, *limited],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment | dict(environment or {}),
            ).returncode
            output.seek(0)
            return Done(code=code, said=output.read().decode(errors="replace"))

    def start(
        self, *command: str | Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in the room and let it run."""
        with log.open("wb") as output:
            return subprocess.Popen(
                [*self._door(), "env", "-C", str(self.home), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment | dict(environment or {}),
            )

    def processes(self) -> list[str]:
        """The command lines of all that runs in the room, but its first process and `ps`."""
        listed = self.run("ps", "-eo", "pid=,stat=,args=").said.splitlines()
        entries = [line.split(maxsplit=2) for line in listed]
        return [
            entry[2]
            for entry in entries
            if entry[0] != "1" and not entry[1].startswith("Z") and "ps -eo" not in entry[2]
        ]

    def listeners(self) -> set[str]:
        """The addresses, in the kernel's hexadecimal, on which something in the room listens."""
        found: set[str] = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            for line in self.run("cat", table).said.splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":  # TCP_LISTEN
                    found.add(fields[1].split(":")[0])
        return found

    def _door(self) -> list[str]:
        return ["nsenter", "--target", str(self.pid), "--net", "--pid", "--mount"]


def why_not(*programs: str) -> str:
    """Why there can be no room here with these programs; empty if there can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "private namespaces need root on Linux"
    for program in ("unshare", "nsenter", "ip", "ps", *programs):
        if shutil.which(program, path=_search_path()) is None:
            return f"{program} is not installed; .ci/run names its package"
    tried = subprocess.run(
        ["unshare", "-n", "-p", "-m", "-f", "--mount-proc", "ip", "link", "set", "lo", "up"],
        capture_output=True,
        text=True,
    )
    return f"private namespaces are refused here: {tried.stderr.strip()}" * (tried.returncode != 0)


@contextmanager
def room(folder: Path) -> Iterator[Room]:
    """A new room in `folder`; all that runs in it is killed at the end."""
    home = folder / "home"
    home.mkdir(parents=True)
    (folder / "passwd").write_text(_passwd(home))
    command = ["unshare", "-n", "-p", "-m", "-f", "--kill-child", "--mount-proc"]
    first = subprocess.Popen(
        [*command, "bash", "-c", _SET_UP],
        stdin=subprocess.PIPE,
        env={**os.environ, "ROOM": str(folder), "PATH": _search_path()},
    )
    try:
        while not (folder / "ready").exists():
            if first.poll() is not None:
                raise RuntimeError(f"the room could not be set up: exit status {first.returncode}")
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        yield Room(folder=folder, pid=int(children[0]), environment=_environment(home))
    finally:
        first.kill()
        first.wait()


def shell(*words: str | Path) -> str:
    """One line that a shell reads as these words."""
    return shlex.join(map(str, words))


def _passwd(home: Path) -> str:
    """The machine's, but root lives in the room: programs ask here, and not only for `HOME`."""
    lines = Path("/etc/passwd").read_text().splitlines()
    entries = [line.split(":") for line in lines]
    return "".join(
        ":".join([*entry[:5], str(home), "/bin/bash"] if entry[0] == "root" else entry) + "\n"
        for entry in entries
    )


def _environment(home: Path) -> dict[str, str]:
    """Of every command: ours, but for what would lead out of the room or change Ray."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {
        "HOME": str(home),
        "PATH": _search_path(),
        "OMP_NUM_THREADS": "1",
        "RAY_DISABLE_USAGE_STATS": "1",
        "RAY_worker_niceness": "0",  # or workers start for minutes beside other work
        "COLUMNS": "200",
    }


def _search_path() -> str:
    return os.pathsep.join([str(Path(sys.executable).parent), "/usr/sbin", os.environ["PATH"]])
