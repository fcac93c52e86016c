"""Named tensors on disk: one safetensors file, or several that each hold a part of every tensor.

Parts are cut along the first dimension, in the order of the files, so that whoever reads takes the
rows it needs, however many wrote. A JSON index beside the parts says how many rows each one holds.
Nothing here is pickled.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(path: Path, *, tensors: Mapping[str, Tensor]) -> None:
    """One whole file. Raises `OSError` when the disk refuses."""
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(whole, path)
    except SafetensorError as error:  # what a full disk looks like from there
        raise OSError(f"{str(path)!r} cannot be written: {error}") from error


def part_path(folder: Path, stem: str, *, part: int, num_parts: int) -> Path:
    """Example: `optimizer-00002-of-00004.safetensors` is part 1 of 4."""
    return folder / f"{stem}-{part + 1:05d}-of-{num_parts:05d}.safetensors"


def write_index(
    folder: Path, stem: str, *, num_parts: int, rows: Mapping[str, list[int] | None]
) -> None:
    """`rows` are those of each part; None for a tensor that the first part holds whole."""
    text = json.dumps({"num_parts": num_parts, "rows": dict(rows)})
    (folder / f"{stem}.index.json").write_text(text, encoding="utf-8")


class TensorFiles:
    """What was written as `stem`, in one file or in parts; read tensor by tensor.

    Raises `ValueError` naming the file when one is missing or damaged.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self._rows: dict[str, list[int] | None] = {}
        index = folder / f"{stem}.index.json"
        if index.is_file():
            try:
                found: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
                num_parts, self._rows = int(found["num_parts"]), dict(found["rows"])
            except (ValueError, KeyError, TypeError) as error:
                raise _damaged(index, error=error) from error
            names = [
                part_path(folder, stem, part=part, num_parts=num_parts) for part in range(num_parts)
            ]
        else:
            names = [folder / f"{stem}.safetensors"]
        self.paths = names
        self._files = [_open(path) for path in names]
        self.shapes = self._read_shapes()
        """Of the whole tensors, by name."""

    def read(self, name: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows `start` to `stop` of a tensor; a single number has none and comes whole."""
        rows = self._rows.get(name)
        if rows is None:
            is_whole = stop is None or not self.shapes[name]
            file = self._files[0]
            return file.get_tensor(name) if is_whole else file.get_slice(name)[start:stop]
        stop = self.shapes[name][0] if stop is None else stop
        found: list[Tensor] = []
        first = 0
        for file, num in zip(self._files, rows, strict=True):
            low, high = max(start - first, 0), min(stop - first, num)
            if low < high:
                found.append(file.get_slice(name)[low:high])
            first += num
        # Nobody's rows: a learner beyond the last row of a short tensor.
        return torch.cat(found) if found else self._files[0].get_slice(name)[0:0]

    def read_all(self) -> dict[str, Tensor]:
        return {name: self.read(name) for name in self.shapes}

    def _read_shapes(self) -> dict[str, tuple[int, ...]]:
        first = self._files[0]
        shapes: dict[str, tuple[int, ...]] = {
            name: tuple(first.get_slice(name).get_shape())
            for name in first.keys()  # noqa: SIM118
        }
        for name, rows in self._rows.items():
            if name not in shapes:
                raise ValueError(f"{str(self.paths[0])!r} is damaged: it lacks {name!r}")
            if rows is not None:
                shapes[name] = (sum(rows), *shapes[name][1:])
        return shapes


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt").__enter__()
    except FileNotFoundError as error:
        raise ValueError(f"{str(path)!r} does not exist: the save was not finished") from error
    except SafetensorError as error:
        raise _damaged(path, error=error) from error


def _damaged(path: Path, *, error: Exception) -> ValueError:
    return ValueError(f"{str(path)!r} is damaged ({error}); restore an older one")
