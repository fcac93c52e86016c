"""The cache of made games: one archive per game, made when it is first asked for.

An archive holds the story file, what TextWorld writes beside it, and our record of how it came to
be. It is written whole or not at all, so any number of processes may make the same game at once;
one that was damaged since is noticed by its checksums and made again.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

_log = logging.getLogger(__name__)

STORY_MEMBER, INFO_MEMBER, RECORD_MEMBER = "game.z8", "game.json", "record.json"
_DAMAGE = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError)


class GameMakingError(RuntimeError):
    """The generator failed on a task; the message names it and says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GameRequest:
    """All that a game depends on, apart from the versions of the software."""

    challenge: str
    settings: Mapping[str, Any]
    split: str
    buckets: Sequence[int]
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeGame:
    """A game in the cache. Example: `MadeGame(path=..., seed=7, content="9f..", ...)`."""

    path: Path
    seed: int
    """The generator's seed that made it."""
    content: str
    """See `dyna.envs.textworld.content`."""
    walkthrough: tuple[str, ...]
    objective: str
    max_score: int
    skipped: tuple[Mapping[str, Any], ...]
    """Seeds tried before, each with the reason why it was passed over."""

    def unpack(self, folder: Path) -> Path:
        """Write what the interpreter reads into `folder`; the path of the story file."""
        with zipfile.ZipFile(self.path) as archive:
            for name in (STORY_MEMBER, INFO_MEMBER):
                (folder / name).write_bytes(archive.read(name))
        return folder / STORY_MEMBER


class GameStore:
    """Games by key, in one folder. Threads and processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maker = Maker()
        self._lock = Lock()

    def get(self, key: str, *, request: GameRequest) -> MadeGame:
        """The game of `key`, made now if it is not there or is damaged.

        Raises `GameMakingError` if the generator fails.
        """
        path = self._folder / key[:2] / f"{key}.zip"
        made = self._read(path)
        if made is None:
            with self._lock:
                made = self._read(path) or self._make(path, request=request)
        return made

    def close(self) -> None:
        self._maker.close()

    def _make(self, path: Path, *, request: GameRequest) -> MadeGame:
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = self._maker.ask(
            {
                "challenge": request.challenge,
                "settings": dict(request.settings),
                "split": request.split,
                "buckets": list(request.buckets),
                "seed": request.seed,
                "path": str(path.absolute()),
            }
        )
        if "error" in answer:
            raise GameMakingError(
                f"textworld could not make a game of {request.challenge}, split {request.split!r},"
                f" seed {request.seed}: {answer['error']}"
            )
        made = self._read(path)
        if made is None:
            raise GameMakingError(f"{path} was just made and cannot be read; is the disk full?")
        return made

    def _read(self, path: Path) -> MadeGame | None:
        """None for a file that is not there, or not whole."""
        if not path.exists():
            return None
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
                if damaged is not None:
                    raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
                archive.getinfo(STORY_MEMBER)
                archive.getinfo(INFO_MEMBER)
                record = json.loads(archive.read(RECORD_MEMBER))
            return MadeGame(
                path=path,
                seed=record["seed"],
                content=record["content"],
                walkthrough=tuple(record["walkthrough"]),
                objective=record["objective"],
                max_score=record["max_score"],
                skipped=tuple(record["skipped"]),
            )
        except _DAMAGE as error:
            _log.warning("the cached game %s is damaged (%s); it is made again", path, error)
            return None


class Maker:
    """The game-making process, started when it is needed; see `dyna.envs.textworld.maker`.

    It ends with this process, killed or not, because its standard input ends; and by itself when
    nothing was asked of it for a while.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = Lock()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The maker's answer. Raises `GameMakingError` if the process dies over it."""
        line = json.dumps(request) + "\n"
        with self._lock:
            for is_last in (False, True):
                process = self._running()
                answer = self._exchange(process, line=line)
                if answer is not None:
                    return answer
                code = process.wait()
                self._forget()
                # One that ended while idle says 0 and is no failure.
                if code != 0 or is_last:
                    raise GameMakingError(
                        f"the game-making process ended with code {code}; its own words are above"
                    )
        raise AssertionError("unreachable")

    def close(self) -> None:
        with self._lock:
            if self._process is not None and self._process.stdin is not None:
                self._process.stdin.close()
                self._process.wait()
            self._forget()

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            # TextWorld looks for rules of its own in the current folder: it gets an empty one.
            self._scratch = tempfile.TemporaryDirectory(prefix="dyna-textworld-")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dyna.envs.textworld.maker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=self._scratch.name,
                env={
                    **os.environ,
                    "PYTHONHASHSEED": "0",
                    "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
                    "OMP_NUM_THREADS": "1",
                    "TMPDIR": self._scratch.name,
                },
            )
        return self._process

    def _exchange(self, process: subprocess.Popen[str], *, line: str) -> dict[str, Any] | None:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(line)
            process.stdin.flush()
        except BrokenPipeError:
            return None
        answer = process.stdout.readline()
        return json.loads(answer) if answer else None

    def _forget(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except BrokenPipeError:
                        _log.debug("the maker was gone before its pipe was closed")
        if self._scratch is not None:
            self._scratch.cleanup()
        self._process = self._scratch = None


__all__ = [
    "INFO_MEMBER",
    "RECORD_MEMBER",
    "STORY_MEMBER",
    "GameMakingError",
    "GameRequest",
    "GameStore",
    "MadeGame",
    "Maker",
]
