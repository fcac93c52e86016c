"""What a buffer keeps of a trajectory beside it (logits, a sketch of a gradient): bytes by serial.

They are counted like all else that is held, leave with their trajectory, and come back from disk
to the last bit.
"""

# pyarrow carries no types: what it returns is unknown to the checker.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from dyna.files import DamagedFileError, replacing

_SLOT_BYTES = 150
"""Of an entry in a table of bytes by serial, and the room that the table keeps free."""


class Attachments:
    """Example: `attachments.put(17, b"..."); attachments.num_bytes`."""

    def __init__(self, blobs: Mapping[int, bytes] | None = None) -> None:
        self._blobs: dict[int, bytes] = {}
        self.num_bytes = 0
        for serial, blob in (blobs or {}).items():
            self.put(serial, blob)

    def __len__(self) -> int:
        return len(self._blobs)

    def __contains__(self, serial: int) -> bool:
        return serial in self._blobs

    def get(self, serial: int) -> bytes | None:
        return self._blobs.get(serial)

    def put(self, serial: int, blob: bytes) -> None:
        """Keep `blob` in place of what was kept before."""
        self.drop(serial)
        self._blobs[serial] = blob
        self.num_bytes += sys.getsizeof(blob) + _SLOT_BYTES

    def drop(self, serial: int) -> None:
        blob = self._blobs.pop(serial, None)
        if blob is not None:
            self.num_bytes -= sys.getsizeof(blob) + _SLOT_BYTES

    def save(self, path: Path) -> None:
        table = pa.table(
            {
                "serial": pa.array(list(self._blobs), pa.int64()),
                "blob": pa.array(list(self._blobs.values()), pa.binary()),
            }
        )
        with replacing(path) as draft:
            pq.write_table(table, draft, compression="zstd", write_page_checksum=True)

    @classmethod
    def load(cls, path: Path) -> Attachments:
        """Raises `FileNotFoundError` or `DamagedFileError`, naming the file."""
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist; restore the folder from a copy or an older checkpoint"
            )
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                columns = file.read(columns=["serial", "blob"]).to_pydict()
        except (pa.ArrowException, KeyError, OSError) as error:
            raise DamagedFileError(
                f"{path} is damaged ({error}); restore the folder from a copy or an older "
                "checkpoint"
            ) from error
        return cls(dict(zip(columns["serial"], columns["blob"], strict=True)))


__all__ = ["Attachments"]
