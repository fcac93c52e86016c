"""Games packed as JSON lines, one game a line, plain or compressed (`.xz`, `.gz`).

A line has `id`, `split` and `problem`, and may have `desc` (the task in words), `solvable`,
`agentgym_train` and `agentgym_test`. The first opening unpacks the file once into the cache, each
problem compressed by itself, so that any game can be read without the 4,000 before it; later
openings, in this process and in others, read only the list.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

from dyna.envs.alfworld.games import (
    SPLITS,
    OfficialGameInfo,
    check_id,
    load_list,
    problem_digest,
    read_object,
    save_list,
)
from dyna.envs.caching import cache_folder
from dyna.files import DamagedFileError, replacing

_XZ, _GZIP = b"\xfd7zXZ\x00", b"\x1f\x8b"
_REMEDY = "restore it from its source: it is cut off or was changed"


class GamePack:
    """Example: `GamePack(Path("alfworld_games.jsonl.xz")).games("train")`.

    Raises `DamagedFileError` for a file that is not whole, naming the line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        content = path.read_bytes()
        name = f"pack-{blake2b(content, digest_size=8).hexdigest()}"
        folder = cache_folder("alfworld")
        self._problems = folder / f"{name}.problems"
        listed = folder / f"{name}.json"
        games = load_list(listed)
        if games is None or not _is_whole(self._problems, games=games):
            games = self._unpack(content)
            save_list(listed, games=games)
        self._games: dict[str, list[OfficialGameInfo]] = {}
        for game in games:
            self._games.setdefault(game.split, []).append(game)

    def splits(self) -> Sequence[str]:
        return [split for split in SPLITS if split in self._games]

    def games(self, split: str) -> Sequence[OfficialGameInfo]:
        return self._games[split]

    def problem(self, game: OfficialGameInfo) -> str:
        with self._problems.open("rb") as file:
            file.seek(game.begin)
            packed = file.read(game.num_bytes)
        try:
            return zlib.decompress(packed).decode()
        except (zlib.error, UnicodeDecodeError) as error:
            raise DamagedFileError(
                f"{self._problems} does not hold game {game.id!r} ({error}); delete the file, and "
                "it is made again"
            ) from error

    def where(self, game: OfficialGameInfo) -> str:
        return f"{self._path} (game {game.id!r})"

    def _unpack(self, content: bytes) -> list[OfficialGameInfo]:
        """Write the cache of problems; the list of games."""
        games: list[OfficialGameInfo] = []
        lines: dict[str, int] = {}
        position = 0
        with replacing(self._problems) as draft, draft.open("wb") as file:
            for number, line in self._lines(content):
                game, problem = self._read(line, number=number)
                if game.id in lines:
                    raise DamagedFileError(
                        f"{self._path}, line {number}: game {game.id!r} is also in line "
                        f"{lines[game.id]}; {_REMEDY}"
                    )
                lines[game.id] = number
                packed = zlib.compress(problem.encode(), 1)
                file.write(packed)
                games.append(replace(game, begin=position, num_bytes=len(packed)))
                position += len(packed)
            if not games:
                raise DamagedFileError(f"{self._path} holds no game; {_REMEDY}")
        return games

    def _lines(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        """The lines that are not blank, with their numbers from 1."""
        try:
            with _unpacked(content) as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        yield number, line
        except (lzma.LZMAError, EOFError, OSError, zlib.error) as error:
            raise DamagedFileError(
                f"{self._path} cannot be unpacked ({error}); {_REMEDY}"
            ) from error

    def _read(self, line: bytes, *, number: int) -> tuple[OfficialGameInfo, str]:
        where = f"{self._path}, line {number}"
        fields = read_object(line, where=where, remedy=_REMEDY)
        for name in ("id", "split", "problem"):
            if not isinstance(fields.get(name), str) or not fields[name]:
                raise DamagedFileError(f"{where} has no text {name!r}; {_REMEDY}")
        if fields["split"] not in SPLITS:
            raise DamagedFileError(
                f"{where}: split must be one of {list(SPLITS)}, got {fields['split']!r}"
            )
        check_id(fields["id"], where=where)
        problem = str(fields["problem"])
        game = OfficialGameInfo(
            id=fields["id"],
            split=fields["split"],
            solvable=fields.get("solvable", True) is True,
            task=str(fields.get("desc") or "").strip().removesuffix("."),
            agentgym_train=_number(fields, name="agentgym_train", where=where),
            agentgym_test=_number(fields, name="agentgym_test", where=where),
            digest=problem_digest(problem),
        )
        return game, problem


def _unpacked(content: bytes) -> BufferedIOBase:
    if content.startswith(_XZ):
        return lzma.LZMAFile(BytesIO(content))
    if content.startswith(_GZIP):
        return gzip.GzipFile(fileobj=BytesIO(content))
    return BytesIO(content)


def _number(fields: Mapping[str, Any], *, name: str, where: str) -> int | None:
    value = fields.get(name)
    if value is not None and type(value) is not int:
        raise DamagedFileError(f"{where}: {name} must be a number or null, got {value!r}")
    return value


def _is_whole(path: Path, *, games: Sequence[OfficialGameInfo]) -> bool:
    """Whether a cache of problems is as long as its list says."""
    length = sum(game.num_bytes for game in games)
    return path.is_file() and path.stat().st_size == length


__all__ = ["GamePack"]
